"""A convolution over patches that overlap, as NAT has it."""

from torch import nn

from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.parts import part


@part("downsamples", "overlap_nat")
class NatDownsample(nn.Sequential):
    """3x3 with the stride, without bias, then LayerNorm with an epsilon of 1e-5. Source: NAT (arXiv 2204.07143)."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        conv = nn.Conv2d(in_width, width, 3, stride, 1, bias=False)
        super().__init__(conv, MAP_NORMS["layer_1e-5"](width))
