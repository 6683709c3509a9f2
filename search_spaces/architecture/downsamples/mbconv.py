"""An MBConv block that changes width and resolution."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, conv, inverted_bottleneck, total


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    positions = size * size
    branch = inverted_bottleneck(in_width, 4 * width, width, 3, positions, stride=stride)
    return total(branch, conv(in_width, width, 1, positions))


KIND = DownsampleKind(costs=_costs)
