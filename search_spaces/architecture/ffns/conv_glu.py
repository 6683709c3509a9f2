"""Gated feed-forward whose gate is convolved."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.ffns.kind import FfnKind
from search_spaces.architecture.tally import Tally, depthwise, linear, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    hidden = 2 * block.ffn_ratio * width // 3
    around = (linear(width, 2 * hidden, positions), linear(hidden, width, positions))
    return total(*around, depthwise(hidden, 3, positions))


KIND = FfnKind(rank=2, costs=_costs, is_searched=True)
