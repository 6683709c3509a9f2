"""Linear attention with ReLU features, beside a local convolution where the block asks for it."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.layers.heads import from_heads, split_qkv
from search_spaces.network.mixers.concentration import LocalConcentration
from search_spaces.network.parts import part


@part("mixers", "linear")
class ReluLinearAttention(nn.Module):
    """Per head, with Q and K after ReLU: t Q (K^T V) / max(Q sum_j K_j, floor), t learned; then a linear layer.

    (B, H, W, C) -> (B, H, W, C). 4 C^2 + 4 C + h parameters; O(N C d) for N = H * W positions and heads of d channels.

    Knobs of the block's spec (`options`):

    - floor: smallest normaliser, 100 as published.
    - local: `none`, as published; `concentration` adds LocalConcentration of the same input.

    Source: L2ViT's linear global attention (arXiv 2501.16182). There the local concentration is a branch with a
    residual of its own behind this one, which the mixer `concentration` is.
    """

    undecayed = ("temperature",)

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.heads: int = block["heads"]
        self.floor = float(options.get("floor", 100))
        self.qkv = nn.Linear(width, 3 * width)
        self.temperature = nn.Parameter(torch.full((self.heads, 1, 1), block["head_dim"] ** -0.5))
        self.proj = nn.Linear(width, width)
        self.local = LocalConcentration(width, {}) if options.get("local") == "concentration" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        q, k, v = split_qkv(self.qkv(x).view(B, H * W, 3 * C), self.heads)
        q = q.relu()
        k = k.relu()
        sums = q @ k.sum(dim=2, keepdim=True).transpose(2, 3)
        context = self.temperature * (k.transpose(2, 3) @ v)
        mixed = (q @ context) / sums.clamp(min=self.floor)
        out: torch.Tensor = self.proj(from_heads(mixed).view(B, H, W, C))
        return out if self.local is None else out + self.local(x)
