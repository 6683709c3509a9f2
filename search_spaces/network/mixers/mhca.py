"""Multi-head convolutional attention: a grouped convolution in the place of attention."""

from typing import Any

from search_spaces.network.layers.multi_head_conv import MultiHeadConv
from search_spaces.network.parts import part


@part("mixers", "mhca")
class ConvolutionalAttention(MultiHeadConv):
    """3x3 within heads of `head_dim` channels, BatchNorm, ReLU, 1x1; no biases.

    (B, C, H, W) -> (B, C, H, W). No norm before it, and no weights that depend on the input, in spite of its name.

    Source: Next-ViT (arXiv 2207.05501).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__(width, int(dict(block.get("conv_options", ())).get("head_dim", "32")))
