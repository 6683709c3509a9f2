"""A convolution over patches that do not overlap."""

from timm.layers.norm import LayerNorm2d
from torch import nn

from search_spaces.network.parts import part


@part("downsamples", "patchify")
class PatchifyDownsample(nn.Sequential):
    """LayerNorm, then a convolution as large as its stride. Source: ConvNeXt (arXiv 2201.03545)."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__(LayerNorm2d(in_width), nn.Conv2d(in_width, width, stride, stride))
