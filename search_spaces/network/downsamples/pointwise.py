"""Averages, then a 1x1 convolution."""

from torch import nn

from search_spaces.network.layers.norms import ConvNorm
from search_spaces.network.parts import part


@part("downsamples", "pointwise")
class PointwiseDownsample(nn.Sequential):
    """2x2 average pooling where the stride is 2, 1x1 without bias, BatchNorm. Source: Next-ViT (arXiv 2207.05501)."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False) if stride == 2 else nn.Identity()
        super().__init__(pool, ConvNorm(in_width, width))
