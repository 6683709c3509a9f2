"""CoAtNet's head with a hidden layer."""

from search_spaces.network.layers.head import Head
from search_spaces.network.parts import part


@part("heads", "coatnet")
class CoAtNetHead(Head):
    """Pooling, LayerNorm, linear layer, tanh, linear layer. Source: CoAtNet (arXiv 2106.04803)."""

    pooled_norm = "layer"
    has_hidden = True
