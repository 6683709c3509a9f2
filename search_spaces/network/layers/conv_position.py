"""Positions told by a convolution."""

import torch
from torch import nn


class ConvPosition(nn.Module):
    """Conditional position encoding: x + depthwise 3x3 (x); (B, C, H, W) to itself. Source: CPVT (arXiv 2102.10882)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.conv(x)
        return out
