"""Full attention: softmax over all pairs of positions."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, CORE, EFFICIENT, HEADS, MixerKind
from search_spaces.architecture.tally import Tally, full_attention, linear, relative_table, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    options = dict(block.options)
    is_gated = options.get("form") == "gated"
    table = relative_table(block.heads, positions) if block.position == "relative" else 0
    parts = [(table, 0), full_attention(width, width, positions, qkv_bias=not is_gated)]
    if is_gated:
        offsets = (2 * math.isqrt(positions) - 1) ** 2
        parts += [linear(3, block.heads, offsets), (block.heads, positions * positions * width)]
    return total(*parts)


def _problem(block: BlockSpec, width: int) -> str:
    options = dict(block.options)
    if options.get("form") == "gated" and block.position == "relative":
        return "position 'relative' and form 'gated', which has positions of its own; expected one of them"
    if "resize" in options and block.position != "relative":
        return f"position {block.position!r} and resize; expected 'relative' with it"
    return ""


KIND = MixerKind(
    rank=4,
    role=ATTENTION,
    symbol="F",
    colour="#e08283",
    label="full attention",
    fields=HEADS,
    costs=_costs,
    options={"form": ("plain", "gated"), "resize": ("bicubic", "bilinear")},
    problem=_problem,
    sets=(CORE, EFFICIENT),
    is_quadratic=True,
)
