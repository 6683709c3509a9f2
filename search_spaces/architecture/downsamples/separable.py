"""GroupMixFormer's patch embedding."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, conv, depthwise, norm, total


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    positions = size * size
    pointwise = conv(in_width, width, 1, positions, bias=False)
    return total(depthwise(in_width, 3, positions, bias=False), pointwise, norm("batch", width, positions))


KIND = DownsampleKind(costs=_costs)
