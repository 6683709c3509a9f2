"""Two 1x1 convolutions with BatchNorm behind each."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.layers.norms import ConvNorm
from search_spaces.network.parts import part


@part("ffns", "mlp_bn")
class BatchNormMlp(nn.Module):
    """1x1 C -> rC, BatchNorm, ReLU, 1x1 rC -> C, BatchNorm that starts at zero; r is the block's `ffn_ratio`.

    (B, H, W, C) -> (B, H, W, C). It brings its own norms: its blocks have "none" before it. No biases. Source: LeViT
    (arXiv 2104.01136), as SHViT (2401.16456) and LSNet (2503.23135) use it.
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        hidden = block["ffn_ratio"] * width
        self.expand = ConvNorm(width, hidden)
        self.act = nn.ReLU()
        self.reduce = ConvNorm(hidden, width)
        nn.init.zeros_(self.reduce.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.reduce(self.act(self.expand(x.permute(0, 3, 1, 2)))).permute(0, 2, 3, 1)
        return out
