"""Two convolutions of stride 2, with ReLU behind each."""

from torch import nn

from search_spaces.network.layers.two_convs import TwoConvStem
from search_spaces.network.parts import part


@part("stems", "conv_relu")
class ReluStem(TwoConvStem):
    """3x3 stride 2, norm, ReLU, twice; half of the width between. Source: CAS-ViT (arXiv 2408.03703)."""

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        super().__init__(in_chans, width, norm, nn.ReLU, nn.ReLU)
