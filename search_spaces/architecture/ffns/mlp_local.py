"""Two 1x1 convolutions with a depthwise one between, and BatchNorm before that."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.ffns.kind import FfnKind
from search_spaces.architecture.tally import Tally, depthwise, linear, norm, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    hidden = block.ffn_ratio * width
    return total(
        linear(width, hidden, positions),
        norm("batch", hidden, positions),
        depthwise(hidden, 3, positions),
        linear(hidden, width, positions),
    )


KIND = FfnKind(rank=6, costs=_costs)
