"""Three convolutions of stride 2."""

from search_spaces.network.layers.conv_norms import StridedConvNorms
from search_spaces.network.parts import part


@part("stems", "conv8")
class ThreeConvStem(StridedConvNorms):
    """3x3 stride 2 and BatchNorm, three times, with ReLU between: to 1/4, 1/2 and all of the width.

    (B, in_chans, H, W) -> (B, width, H / 8, W / 8). No biases. Source: LSNet (arXiv 2503.23135).
    """

    stride = 8
    image_convs = ("0.conv",)

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        super().__init__(in_chans, width // 4, width // 2, width)
