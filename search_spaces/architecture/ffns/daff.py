"""Inverted bottleneck with a residual around its depthwise convolution."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.ffns.kind import FfnKind
from search_spaces.architecture.tally import Tally, depthwise, linear, norm, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    hidden = block.ffn_ratio * width
    kernel = int(dict(block.ffn_options).get("kernel", "3"))
    inner = norm("batch", hidden, positions)
    middle = (inner, depthwise(hidden, kernel, positions), inner)
    ends = (linear(width, hidden, positions), linear(hidden, width, positions), norm("batch", width, positions))
    return total(*middle, *ends)


KIND = FfnKind(rank=3, costs=_costs, options={"kernel": ("3", "5", "7")}, is_searched=True)
