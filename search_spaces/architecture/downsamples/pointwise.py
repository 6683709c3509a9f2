"""Averages, then a 1x1 convolution."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, conv, norm, total


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    positions = size * size
    return total(conv(in_width, width, 1, positions, bias=False), norm("batch", width, positions))


KIND = DownsampleKind(costs=_costs)
