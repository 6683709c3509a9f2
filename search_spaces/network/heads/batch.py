"""BatchNorm before the pooling."""

from search_spaces.network.layers.head import Head
from search_spaces.network.parts import part


@part("heads", "batch")
class BatchNormHead(Head):
    """BatchNorm of the last map, pooling, linear layer. Source: GroupMixFormer (arXiv 2311.15157)."""

    map_norm = "batch"
