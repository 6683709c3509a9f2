"""Large kernel attention: a convolution with a receptive field of 23 x 23 weighs its own input."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.parts import part


@part("mixers", "lka")
class LargeKernelAttention(nn.Module):
    """u = GELU(PW x); y = PW(u * PW(DW_7, dilation 3 (DW_5 u))) + x, * elementwise.

    (B, H, W, C) -> (B, H, W, C). 3 C^2 + 79 C parameters. No softmax and no heads: the large kernel is a 5x5 and a
    dilated 7x7 depthwise convolution. The residual x here is the module's own, beside that of the block.

    Source: Visual Attention Network (arXiv 2202.09741).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.proj_in = nn.Linear(width, width)
        self.act = nn.GELU()
        self.conv_local = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.conv_dilated = nn.Conv2d(width, width, 7, padding=9, dilation=3, groups=width)
        self.mix = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = self.act(self.proj_in(x))
        attention = self.conv_dilated(self.conv_local(u.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        out: torch.Tensor = self.proj(u * self.mix(attention)) + x
        return out
