"""Two 1x1 convolutions with BatchNorm behind each."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.ffns.kind import FfnKind
from search_spaces.architecture.tally import Tally, conv_norm, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    hidden = block.ffn_ratio * width
    return total(conv_norm(width, hidden, 1, positions), conv_norm(hidden, width, 1, positions))


KIND = FfnKind(rank=5, costs=_costs)
