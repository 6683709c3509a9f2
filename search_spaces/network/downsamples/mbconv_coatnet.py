"""The first block of a stage of CoAtNet's that convolves."""

from search_spaces.network.layers.bottleneck import StridedBottleneck, squeeze_width
from search_spaces.network.parts import part


@part("downsamples", "mbconv_coatnet")
class CoAtNetDownsample(StridedBottleneck):
    """MBConv with its norm in front and squeeze-and-excitation. Source: CoAtNet (arXiv 2106.04803)."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__(in_width, width, stride, "coatnet", squeeze_width(width))
