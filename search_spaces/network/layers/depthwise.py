"""Depthwise convolutions with BatchNorm, alone and as branches of a sum."""

from collections.abc import Sequence

import torch
from torch import nn


class DepthwiseNorm(nn.Sequential):
    """A depthwise convolution without bias, then BatchNorm: (B, C, H, W) to itself; the sides of the kernel are odd."""

    def __init__(self, width: int, rows: int, columns: int, dilation: int = 1) -> None:
        super().__init__()
        padding = (rows // 2 * dilation, columns // 2 * dilation)
        self.conv = nn.Conv2d(
            width, width, (rows, columns), padding=padding, dilation=dilation, groups=width, bias=False
        )
        self.norm = nn.BatchNorm2d(width)


class DepthwiseSum(nn.Module):
    """The sum of depthwise convolutions with BatchNorm of one input: (B, C, H, W) to itself.

    One kernel can take the place of all once the network is trained. Source: RepLKNet (arXiv 2203.06717); with
    dilations UniRepLKNet (2311.15599).

    Args:
        width: C.
        shapes: side of the kernel and dilation of each branch.
    """

    def __init__(self, width: int, shapes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(DepthwiseNorm(width, kernel, kernel, dilation) for kernel, dilation in shapes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(x)
        for branch in self.branches:
            out = out + branch(x)
        return out
