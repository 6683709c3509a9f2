"""LayerNorm behind the pooling."""

from search_spaces.network.layers.head import Head
from search_spaces.network.parts import part


@part("heads", "layer")
class LayerNormHead(Head):
    """Pooling, LayerNorm, linear layer. Source: ConvNeXt (arXiv 2201.03545)."""

    pooled_norm = "layer"
