"""Convolutions of several sizes side by side."""

import torch
from torch import nn


class CrossScaleConvs(nn.ModuleList):
    """Convolutions of one stride: (B, C, H, W) -> (B, width, H / stride, W / stride).

    Kernel k has padding (k - stride) / 2. The smallest kernel makes half of the channels, every other half of what is
    left, and the largest the rest. Source: CrossFormer (arXiv 2108.00154).
    """

    def __init__(self, in_width: int, width: int, kernels: tuple[int, ...], stride: int) -> None:
        left = width
        convs = []
        for index, kernel in enumerate(kernels):
            out = left if index == len(kernels) - 1 else left // 2
            convs.append(nn.Conv2d(in_width, out, kernel, stride, (kernel - stride) // 2))
            left -= out
        super().__init__(convs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([conv(x) for conv in self], dim=1)
