"""A convolution over patches that do not overlap."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, conv, norm, total


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    positions = size * size
    return total(norm("layer", in_width, positions * stride**2), conv(in_width, width, stride, positions))


KIND = DownsampleKind(costs=_costs)
