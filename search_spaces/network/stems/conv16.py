"""Four convolutions of stride 2."""

from search_spaces.network.layers.conv_norms import StridedConvNorms
from search_spaces.network.parts import part


@part("stems", "conv16")
class LevitStem(StridedConvNorms):
    """3x3 stride 2 and BatchNorm, four times, with ReLU between: to 1/8, 1/4, 1/2 and all of the width.

    (B, in_chans, H, W) -> (B, width, H / 16, W / 16). No biases. Source: LeViT (arXiv 2104.01136), as SHViT
    (2401.16456) has it.
    """

    stride = 16
    image_convs = ("0.conv",)

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        super().__init__(in_chans, width // 8, width // 4, width // 2, width)
