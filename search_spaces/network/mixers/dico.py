"""Convolution with compact channel attention."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.parts import part


@part("mixers", "dico")
class CompactChannelConv(nn.Module):
    """u = GELU(DW_3(PW x)); y = PW(u * sigmoid(PW(mean u))), * per channel, the mean over positions.

    (B, H, W, C) -> (B, H, W, C). 3 C^2 + 13 C parameters. Source: DiCo (arXiv 2505.11196).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.proj_in = nn.Linear(width, width)
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.act = nn.GELU()
        self.gate = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = self.act(self.conv(self.proj_in(x).permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        out: torch.Tensor = self.proj(u * self.gate(u.mean(dim=(1, 2), keepdim=True)).sigmoid())
        return out
