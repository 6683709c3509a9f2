"""Two linear layers with an activation between."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.ffns.kind import FfnKind
from search_spaces.architecture.tally import Tally, linear, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    hidden = block.ffn_ratio * width
    return total(linear(width, hidden, positions), linear(hidden, width, positions))


KIND = FfnKind(rank=0, costs=_costs, options={"act": ("gelu", "gelu_tanh", "relu")}, is_searched=True)
