"""Inverted bottleneck with a residual around its depthwise convolution."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.network.parts import part


@part("ffns", "daff")
class DynamicAggregation(nn.Module):
    """u = GELU(BN(PW x)), C -> rC; u = u + GELU(BN(depthwise 3x3 (u))); BN(PW u), rC -> C.

    (B, H, W, C) -> (B, H, W, C); r is the block's `ffn_ratio`, and the knob `kernel` the side of the depthwise
    convolution. The published module also gates a class token by a squeeze of this output; networks here have no class
    token. Source: DHVT (arXiv 2210.05958).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        hidden = int(block["ffn_ratio"] * width)
        kernel = int(dict(block.get("ffn_options", ())).get("kernel", "3"))
        self.conv1 = nn.Conv2d(width, hidden, 1)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.conv3 = nn.Conv2d(hidden, width, 1)
        self.bn3 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = F.gelu(self.bn1(self.conv1(x.permute(0, 3, 1, 2))))
        u = u + F.gelu(self.bn2(self.conv2(u)))
        out: torch.Tensor = self.bn3(self.conv3(u))
        return out.permute(0, 2, 3, 1)
