"""Gated feed-forward whose gate is convolved."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.network.parts import part


@part("ffns", "conv_glu")
class ConvGlu(nn.Module):
    """Linear C -> 2 e, split in a and v; linear e -> C of GELU(depthwise 3x3 (a)) * v.

    (B, H, W, C) -> (B, H, W, C). e = floor(2/3 rC) with r the block's `ffn_ratio`, so that it costs about what a plain
    feed-forward of ratio r does. Source: TransNeXt (arXiv 2311.17132).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        hidden = int(2 * block["ffn_ratio"] * width // 3)
        self.fc1 = nn.Linear(width, 2 * hidden)
        self.conv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, v = self.fc1(x).chunk(2, dim=3)
        gate = F.gelu(self.conv(a.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        out: torch.Tensor = self.fc2(gate * v)
        return out
