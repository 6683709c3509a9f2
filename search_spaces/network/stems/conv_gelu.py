"""Two convolutions of stride 2, with GELU between."""

from torch import nn

from search_spaces.network.layers.two_convs import TwoConvStem
from search_spaces.network.parts import part


@part("stems", "conv_gelu")
class GeluStem(TwoConvStem):
    """3x3 stride 2, norm, GELU, 3x3 stride 2, norm; half of the width between. Source: Inception Transformer (arXiv
    2205.12956)."""

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        super().__init__(in_chans, width, norm, nn.GELU)
