"""MaxViT's MBConv where it starts a stage."""

from search_spaces.network.layers.bottleneck import StridedBottleneck, squeeze_width
from search_spaces.network.parts import part


@part("downsamples", "mbconv_maxvit")
class MaxViTDownsample(StridedBottleneck):
    """MBConv with its norm in front, squeeze-and-excitation and TensorFlow's padding. Source: MaxViT (arXiv
    2204.01697)."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__(in_width, width, stride, "maxvit", squeeze_width(width))
