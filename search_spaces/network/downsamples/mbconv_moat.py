"""The first block of a stage of MOAT's that only convolves."""

from search_spaces.network.layers.bottleneck import StridedBottleneck, squeeze_width
from search_spaces.network.parts import part


@part("downsamples", "mbconv_moat")
class MOATDownsample(StridedBottleneck):
    """MBConv with its norm in front, squeeze-and-excitation and TensorFlow's padding. Source: MOAT (arXiv
    2210.01820)."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__(in_width, width, stride, "moat", squeeze_width(width))
