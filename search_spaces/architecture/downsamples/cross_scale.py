"""Convolutions over patches of two sizes."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, cross_scale, norm, total


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    positions = size * size
    convs = cross_scale(in_width, width, (stride, stride + 2), positions)
    return total(norm("layer", in_width, positions * stride**2), convs)


KIND = DownsampleKind(costs=_costs)
