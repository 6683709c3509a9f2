"""A convolution over patches that do not overlap, as DaViT has it."""

from torch import nn

from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.parts import part


@part("downsamples", "patchify_davit")
class DavitDownsample(nn.Sequential):
    """LayerNorm with an epsilon of 1e-5, then a convolution as large as its stride.

    Source: DaViT (arXiv 2204.03645).
    """

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__(MAP_NORMS["layer_1e-5"](in_width), nn.Conv2d(in_width, width, stride, stride))
