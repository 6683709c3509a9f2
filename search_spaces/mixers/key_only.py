"""Key-only attention: positions are weighted by a saliency gate on their keys; queries do not exist."""

from typing import Any

import torch
from torch import nn


class KeyOnlyAttention(nn.Module):
    """K = X W_k, V = X W_v; per head a = softmax_N(K g / sqrt(head_dim)), c = sum_n a_n V_n, Y_n = sigmoid(K_n) * c; out = Y W_o.

    (B, H, W, C) -> (B, H, W, C). O(N C^2) for N = H * W positions: no pair of positions is ever compared, so no N x N tensor exists.

    Source: LinGlo (arXiv 2207.00188) publishes the idea: attention weights from a cheap saliency gate on the keys, no query-key
    products, local-global interaction, linear cost. Its formulas could not be read; the gate (one learned vector g per head), the
    softmax over positions and the sigmoid of the keys as the local factor are our reconstruction.
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.heads, self.head_dim = block["heads"], block["head_dim"]
        self.kv = nn.Linear(width, 2 * width)
        self.gate = nn.Parameter(torch.randn(self.heads, self.head_dim, 1) * 0.02)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        k, v = self.kv(x).view(B, H * W, 2, self.heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        saliency = (k @ self.gate) * self.head_dim**-0.5
        context = saliency.softmax(dim=2).transpose(2, 3) @ v
        mixed = k.sigmoid() * context
        out: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(B, H, W, C))
        return out
