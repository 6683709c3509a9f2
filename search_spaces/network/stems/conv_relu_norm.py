"""Two convolutions of stride 2 with ReLU between, and LayerNorm behind."""

from functools import partial

from torch import nn

from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.layers.two_convs import TwoConvStem
from search_spaces.network.parts import part


@part("stems", "conv_relu_norm")
class NormedReluStem(TwoConvStem):
    """3x3 stride 2, norm, ReLU, 3x3 stride 2, norm, LayerNorm; half of the width between. Source: L2ViT (arXiv
    2501.16182)."""

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        super().__init__(in_chans, width, norm, nn.ReLU, partial(MAP_NORMS["layer_1e-5"], width))
