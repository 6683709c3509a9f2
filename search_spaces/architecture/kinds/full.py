"""Full attention: softmax over all pairs of positions."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, CORE, EFFICIENT, HEADS, MixerKind
from search_spaces.architecture.tally import Tally, linear, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    products = 2 * positions * positions * width
    table = block.heads * (2 * math.isqrt(positions) - 1) ** 2 if block.position == "relative" else 0
    return total(linear(width, 3 * width, positions), (table, products), linear(width, width, positions))


KIND = MixerKind(
    rank=4,
    role=ATTENTION,
    symbol="F",
    colour="#e08283",
    label="full attention",
    fields=HEADS,
    costs=_costs,
    sets=(CORE, EFFICIENT),
    is_quadratic=True,
)
