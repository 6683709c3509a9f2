"""Window attention: softmax attention within windows of neighbouring positions."""

import torch
from timm.models import register_notrace_module

from search_spaces.network.layers.partition_attention import PartitionAttention
from search_spaces.network.parts import part


@part("mixers", "window")
@register_notrace_module
class WindowAttention(PartitionAttention):
    """softmax(Q K^T / sqrt(head_dim) + bias) V within each window of rows x columns positions, then a linear layer.

    (B, H, W, C) -> (B, H, W, C). 4 C^2 + 4 C parameters and those of the bias, 2 N n C multiply-adds in the products
    for windows of n positions: linear in N = H * W. No window sees another.

    Sources: the window of MaxViT (arXiv 2204.01697) in timm; without bias and with `zero` padding that of DaViT
    (2204.03645) and L2ViT (2501.16182); with `dynamic` bias the short distance attention of CrossFormer (2108.00154).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        H, W = x.shape[1:3]
        if self.is_small(H, W):
            return self.attend(x, min(H, W), min(H, W), 1, 1)
        return self.attend(x, self.rows, self.columns, 1, 1)
