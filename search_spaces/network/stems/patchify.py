"""One convolution over patches that do not overlap."""

from torch import nn

from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.parts import part


@part("stems", "patchify")
class PatchifyStem(nn.Sequential):
    """4x4 stride 4, norm. Source: ConvNeXt (arXiv 2201.03545)."""

    stride = 4
    image_convs = ("0",)

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        super().__init__(nn.Conv2d(in_chans, width, 4, 4), MAP_NORMS[norm](width))
