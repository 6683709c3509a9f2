"""A depthwise convolution and a 1x1, with BatchNorm behind each."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, conv_norm, total


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    positions = size * size
    return total(conv_norm(in_width, in_width, 3, positions, groups=in_width), conv_norm(in_width, width, 1, positions))


KIND = DownsampleKind(costs=_costs, rounds_up=True)
