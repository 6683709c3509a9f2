"""An inverted bottleneck with squeeze-and-excitation that changes width and resolution, without a shortcut."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, divisible_by_8, inverted_bottleneck


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    # An odd side before counts as the next even one.
    squeeze = divisible_by_8(in_width)
    return inverted_bottleneck(in_width, 4 * in_width, width, 3, size * size, squeeze, stride)


KIND = DownsampleKind(costs=_costs, rounds_up=True)
