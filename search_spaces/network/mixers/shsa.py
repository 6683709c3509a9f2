"""Single-head self-attention on a part of the channels."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.layers.norms import ConvNorm
from search_spaces.network.parts import part


@part("mixers", "shsa")
class SingleHeadAttention(nn.Module):
    """The first p channels attend with one head, the others pass: y = BN(PW(ReLU([attention(x1), x2]))).

    (B, H, W, C) -> (B, H, W, C). x1 has a norm of its own, GroupNorm over all its channels and positions; Q, K (of
    `qk_dim` channels) and V (of p) come from a 1x1 convolution with BatchNorm. The last BatchNorm starts at zero.
    2 p + (p + 2)(2 D + p) + C^2 + 2 C parameters for D = qk_dim; O(N^2) for N = H * W.

    Knobs: `pdim` is p, 3 C / 14 rounded down where none is named, which gives the published ones; `qk_dim`.

    Source: SHViT (arXiv 2401.16456).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.pdim = int(options.get("pdim", 3 * width // 14))
        self.qk_dim = int(options.get("qk_dim", 16))
        self.norm = nn.GroupNorm(1, self.pdim)
        self.qkv = ConvNorm(self.pdim, 2 * self.qk_dim + self.pdim)
        self.proj = ConvNorm(width, width)
        nn.init.zeros_(self.proj.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        attending, passing = torch.split(x.permute(0, 3, 1, 2), [self.pdim, C - self.pdim], dim=1)
        joined = self.qkv(self.norm(attending)).flatten(2)
        q, k, v = torch.split(joined, [self.qk_dim, self.qk_dim, self.pdim], dim=1)
        # No kernel of torch takes values that are wider than the queries.
        weights = ((q.transpose(1, 2) * self.qk_dim**-0.5) @ k).softmax(dim=2)
        attended = (v @ weights.transpose(1, 2)).view(B, self.pdim, H, W)
        out: torch.Tensor = self.proj(torch.cat((attended, passing), dim=1).relu()).permute(0, 2, 3, 1)
        return out
