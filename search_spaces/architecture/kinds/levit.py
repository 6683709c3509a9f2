"""Attention with narrow queries and keys, whose queries are convolved."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, HEADS, MixerKind
from search_spaces.architecture.knobs import Integer, Knobs
from search_spaces.architecture.tally import Tally, conv_norm, total

KNOBS: Knobs = {"qk_dim": Integer(16)}


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    narrow = block.heads * int(dict(block.options).get("qk_dim", 16))
    side = math.isqrt(positions)
    return total(
        conv_norm(width, 2 * narrow + width, 1, positions),
        conv_norm(narrow, narrow, 3, positions, groups=narrow),
        (block.heads * side * side, positions * positions * (narrow + width)),
        conv_norm(width, width, 1, positions),
    )


KIND = MixerKind(
    rank=29,
    role=ATTENTION,
    symbol="Le",
    colour="#f5b7b1",
    label="attention with narrow keys",
    fields=HEADS,
    costs=_costs,
    options=KNOBS,
    is_quadratic=True,
)
