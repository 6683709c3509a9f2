"""MaxViT's head with a hidden layer."""

from search_spaces.network.layers.head import Head
from search_spaces.network.parts import part


@part("heads", "maxvit")
class MaxViTHead(Head):
    """Pooling, LayerNorm with an epsilon of 1e-5, linear layer, tanh, linear layer.

    Source: MaxViT (arXiv 2204.01697).
    """

    pooled_norm = "layer_1e-5"
    has_hidden = True
