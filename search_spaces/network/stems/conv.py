"""Two convolutions of stride 2."""

from torch import nn

from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.parts import part


@part("stems", "conv")
class ConvStem(nn.Sequential):
    """3x3 stride 2, norm, Hardswish, twice; half of the width between. Source: GroupMixFormer (arXiv 2311.15157)."""

    stride = 4
    image_convs = ("0",)

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        half = width // 2
        first = (nn.Conv2d(in_chans, half, 3, 2, 1), MAP_NORMS[norm](half), nn.Hardswish())
        super().__init__(*first, nn.Conv2d(half, width, 3, 2, 1), MAP_NORMS[norm](width), nn.Hardswish())
