"""Grid attention: softmax attention within groups of positions that are spread over the map."""

from typing import Any

import torch
from timm.models import register_notrace_module

from search_spaces.network.layers.partition_attention import PartitionAttention
from search_spaces.network.parts import part


@part("mixers", "grid")
@register_notrace_module
class GridAttention(PartitionAttention):
    """softmax(Q K^T / sqrt(head_dim) + bias) V within each group of rows x columns positions, then a linear layer.

    (B, H, W, C) -> (B, H, W, C). The positions of a group stand H / rows and W / columns apart, or as far as `interval`
    says, in regions of rows * interval by columns * interval. Costs as of window attention.

    Sources: the grid of MaxViT (arXiv 2204.01697) in timm; with an interval and `dynamic` bias the long distance
    attention of CrossFormer (2108.00154).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__(width, block)
        self.interval = int(dict(block.get("options", ())).get("interval", 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        H, W = x.shape[1:3]
        if self.is_small(H, W):
            return self.attend(x, min(H, W), min(H, W), 1, 1)
        if self.interval:
            return self.attend(x, self.rows, self.columns, self.interval, self.interval)
        return self.attend(x, self.rows, self.columns, -(-H // self.rows), -(-W // self.columns))
