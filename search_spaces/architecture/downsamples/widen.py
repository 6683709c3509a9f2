"""More channels beside those that are there."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, conv, multi_head_conv, norm, total

HEAD_DIM = 32
"""Channels per head of the convolution, as published."""


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    positions = size * size
    added = width - in_width
    proj = total(conv(in_width, added, 1, positions, bias=False), norm("batch", added, positions))
    return total(proj, multi_head_conv(added, HEAD_DIM, positions))


def _problem(in_width: int, width: int, stride: int) -> str:
    added = width - in_width
    if added > 0 and added % HEAD_DIM == 0 and stride == 1:
        return ""
    return (
        f"downsample 'widen' from {in_width} to {width} channels with stride {stride}; "
        f"expected multiples of {HEAD_DIM} to be added, and stride 1"
    )


KIND = DownsampleKind(costs=_costs, problem=_problem)
