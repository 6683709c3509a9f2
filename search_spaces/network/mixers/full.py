"""Scaled dot product attention over all positions."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.network.layers.positions import RelativePositionBias
from search_spaces.network.parts import part


@part("mixers", "full")
class FullAttention(nn.Module):
    """softmax(Q K^T / sqrt(head_dim) + bias) V, then a linear layer; O(N^2 C) for N = H * W positions.

    (B, H, W, C) -> (B, H, W, C). The bias is that of relative positions where the block asks for it, else there is
    none. torch picks the kernel (flash where the device has it and there is no bias).

    Source: "Attention Is All You Need" (arXiv 1706.03762).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.heads = block["heads"]
        self.head_dim = block["head_dim"]
        self.qkv = nn.Linear(width, 3 * width)
        side = block.get("map_size", 0)
        self.bias = RelativePositionBias(self.heads, side, side) if block.get("position") == "relative" else None
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        q, k, v = self.qkv(x).view(B, H * W, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        if self.bias is None:
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias(H, W).to(q.dtype)).transpose(1, 2)
            # Whether the kernel for a bias returns positions or heads first depends on gradients; an exporter must not
            # rely on either.
            mixed = mixed.clone(memory_format=torch.contiguous_format)
        out: torch.Tensor = self.proj(mixed.reshape(B, H, W, C))
        return out
