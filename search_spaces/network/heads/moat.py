"""MOAT's head."""

from search_spaces.network.layers.head import Head
from search_spaces.network.parts import part


@part("heads", "moat")
class MOATHead(Head):
    """Pooling, LayerNorm with an epsilon of 1e-5, linear layer. Source: MOAT (arXiv 2210.01820)."""

    pooled_norm = "layer_1e-5"
