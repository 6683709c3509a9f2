"""Attention with narrow queries and keys, whose queries are convolved."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.layers.mirrored_bias import MirroredPositionBias
from search_spaces.network.layers.norms import ConvNorm
from search_spaces.network.parts import part


@part("mixers", "levit")
class NarrowKeyAttention(nn.Module):
    """softmax(DW_3(Q) K^T / sqrt(d) + bias) V, ReLU, 1x1; O(N^2 C) for N = H * W positions.

    (B, H, W, C) -> (B, H, W, C). Queries and keys have d channels per head, the knob `qk_dim`; values have the spec's
    `head_dim`. The bias is one per head and distance in rows and columns. BatchNorm stands behind each convolution, the
    last of which starts at zero.

    Source: LeViT (arXiv 2104.01136), with the convolved queries of LSNet (2503.23135).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.heads = block["heads"]
        self.qk_dim = int(options.get("qk_dim", 16))
        self.narrow = self.heads * self.qk_dim
        side = block["map_size"]
        self.qkv = ConvNorm(width, 2 * self.narrow + width)
        self.convolve = ConvNorm(self.narrow, self.narrow, 3, groups=self.narrow)
        self.bias = MirroredPositionBias(self.heads, side, side)
        self.proj = ConvNorm(width, width)
        nn.init.zeros_(self.proj.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        q, k, v = self.qkv(x.permute(0, 3, 1, 2)).split([self.narrow, self.narrow, C], dim=1)
        q = self.convolve(q).reshape(B, self.heads, self.qk_dim, H * W) * self.qk_dim**-0.5
        k = k.reshape(B, self.heads, self.qk_dim, H * W)
        v = v.reshape(B, self.heads, C // self.heads, H * W)
        weights = (q.transpose(2, 3) @ k + self.bias(H, W).to(q.dtype)).softmax(dim=3)
        mixed = (v @ weights.transpose(2, 3)).reshape(B, C, H, W)
        out: torch.Tensor = self.proj(mixed.relu()).permute(0, 2, 3, 1)
        return out
