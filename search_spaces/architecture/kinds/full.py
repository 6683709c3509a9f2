"""Full attention: softmax over all pairs of positions."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, CORE, EFFICIENT, HEADS, MixerKind
from search_spaces.architecture.tally import Tally, linear, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    products = 2 * positions * positions * width
    table = block.heads * (2 * math.isqrt(positions) - 1) ** 2 if block.position == "relative" else 0
    is_gated = _is_gated(block)
    parts = [linear(width, 3 * width, positions, bias=not is_gated), (table, products), linear(width, width, positions)]
    if is_gated:
        offsets = (2 * math.isqrt(positions) - 1) ** 2
        parts += [linear(3, block.heads, offsets), (block.heads, products // 2)]
    return total(*parts)


def _problem(block: BlockSpec, width: int) -> str:
    if _is_gated(block) and block.position == "relative":
        return "position 'relative' and form 'gated', which has positions of its own; expected one of them"
    return ""


def _is_gated(block: BlockSpec) -> bool:
    return ("form", "gated") in block.options


KIND = MixerKind(
    rank=4,
    role=ATTENTION,
    symbol="F",
    colour="#e08283",
    label="full attention",
    fields=HEADS,
    costs=_costs,
    options={"form": ("plain", "gated")},
    problem=_problem,
    sets=(CORE, EFFICIENT),
    is_quadratic=True,
)
