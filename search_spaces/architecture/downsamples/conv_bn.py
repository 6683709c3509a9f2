"""A 3x3 convolution and BatchNorm."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, conv, norm, total


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    positions = size * size
    return total(conv(in_width, width, 3, positions), norm("batch", width, positions))


KIND = DownsampleKind(costs=_costs)
