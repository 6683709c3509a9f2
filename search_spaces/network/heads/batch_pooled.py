"""BatchNorm behind the pooling."""

from search_spaces.network.layers.head import Head
from search_spaces.network.parts import part


@part("heads", "batch_pooled")
class PooledBatchNormHead(Head):
    """Pooling, BatchNorm, linear layer. Source: LeViT (arXiv 2104.01136), as SHViT (2401.16456) has it."""

    pooled_norm = "batch"
