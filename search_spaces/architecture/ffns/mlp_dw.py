"""Feed-forward with a depthwise convolution between its linear layers."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.ffns.kind import FfnKind
from search_spaces.architecture.tally import Tally, depthwise, linear, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    hidden = block.ffn_ratio * width
    return total(linear(width, hidden, positions), depthwise(hidden, 3, positions), linear(hidden, width, positions))


KIND = FfnKind(rank=1, costs=_costs, is_searched=True)
