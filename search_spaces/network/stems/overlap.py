"""One convolution over patches that overlap."""

from torch import nn

from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.parts import part


@part("stems", "overlap")
class OverlapStem(nn.Sequential):
    """7x7 stride 4, norm. Source: PVTv2 (arXiv 2106.13797)."""

    stride = 4
    image_convs = ("0",)

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        super().__init__(nn.Conv2d(in_chans, width, 7, 4, 3), MAP_NORMS[norm](width))
