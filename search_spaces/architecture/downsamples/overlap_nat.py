"""A convolution over patches that overlap, as NAT has it."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, conv, norm, total


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    positions = size * size
    return total(conv(in_width, width, 3, positions, bias=False), norm("layer", width, positions))


KIND = DownsampleKind(costs=_costs)
