"""A convolution over patches that overlap, and a norm with torch's epsilon."""

from torch import nn

from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.parts import part


@part("downsamples", "overlap_pvt")
class PvtDownsample(nn.Sequential):
    """3x3 with the stride, then LayerNorm with an epsilon of 1e-5, as released. Source: PVTv2 (arXiv 2106.13797)."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__(nn.Conv2d(in_width, width, 3, stride, 1), MAP_NORMS["layer_1e-5"](width))
