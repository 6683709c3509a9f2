"""More channels beside those that are there."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, conv, multi_head_conv, norm, total


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    positions = size * size
    added = width - in_width
    proj = total(conv(in_width, added, 1, positions, bias=False), norm("batch", added, positions))
    return total(proj, multi_head_conv(added, 32, positions))


KIND = DownsampleKind(costs=_costs)
