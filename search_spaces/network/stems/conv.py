"""Two convolutions of stride 2."""

from torch import nn

from search_spaces.network.layers.two_convs import TwoConvStem
from search_spaces.network.parts import part


@part("stems", "conv")
class ConvStem(TwoConvStem):
    """3x3 stride 2, norm, Hardswish, twice; half of the width between. Source: GroupMixFormer (arXiv 2311.15157)."""

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        super().__init__(in_chans, width, norm, nn.Hardswish, nn.Hardswish)
