"""A depthwise convolution and a 1x1, with BatchNorm behind each."""

from torch import nn

from search_spaces.network.layers.norms import ConvNorm
from search_spaces.network.parts import part


@part("downsamples", "separable_bn")
class SeparableNormDownsample(nn.Sequential):
    """Depthwise 3x3 with the stride, BatchNorm, 1x1, BatchNorm; sides are rounded up.

    Source: LSNet (arXiv 2503.23135).
    """

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__(ConvNorm(in_width, in_width, 3, stride, groups=in_width), ConvNorm(in_width, width))
