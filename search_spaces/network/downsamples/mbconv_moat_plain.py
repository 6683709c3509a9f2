"""The first convolution of a stage of MOAT's that attends."""

from search_spaces.network.layers.bottleneck import StridedBottleneck
from search_spaces.network.parts import part


@part("downsamples", "mbconv_moat_plain")
class MOATPlainDownsample(StridedBottleneck):
    """The same as mbconv_moat without squeeze-and-excitation. Source: MOAT (arXiv 2210.01820)."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__(in_width, width, stride, "moat", 0)
