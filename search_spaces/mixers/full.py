"""Scaled dot product attention over all positions."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class FullAttention(nn.Module):
    """softmax(Q K^T / sqrt(head_dim)) V, then a linear layer; O(N^2 C) for N = H * W positions.

    (B, H, W, C) -> (B, H, W, C). torch picks the kernel (flash where the device has it).

    Source: "Attention Is All You Need" (arXiv 1706.03762).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.heads, self.head_dim = block["heads"], block["head_dim"]
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        q, k, v = self.qkv(x).view(B, H * W, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(B, H, W, C))
        return out
