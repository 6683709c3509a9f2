"""A convolution over patches that overlap."""

from timm.layers.norm import LayerNorm2d
from torch import nn

from search_spaces.network.parts import part


@part("downsamples", "overlap")
class OverlapDownsample(nn.Sequential):
    """3x3 with the stride, then LayerNorm. Source: PVTv2 (arXiv 2106.13797)."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__(nn.Conv2d(in_width, width, 3, stride, 1), LayerNorm2d(width))
