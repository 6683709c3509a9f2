"""An MBConv block that changes width and resolution."""

import torch
from timm.models._efficientnet_blocks import InvertedResidual
from torch import nn

from search_spaces.network.parts import part


@part("downsamples", "mbconv")
class StridedMBConv(nn.Module):
    """MBConv that changes width and, with stride 2, halves the sides; its shortcut is averaged and projected.

    (B, C, H, W) -> (B, width, H / stride, W / stride). It expands to four times its output's width. Source: CoAtNet
    (arXiv 2106.04803).
    """

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.shortcut = nn.Conv2d(in_width, width, 1)
        # timm rounds the product down before it makes it divisible by 8; half a channel keeps a quotient from falling
        # below its integer.
        ratio = (4 * width + 0.5) / in_width
        self.bottleneck = InvertedResidual(
            in_width, width, stride=stride, exp_ratio=ratio, noskip=True, act_layer=nn.GELU
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.shortcut(self.pool(x)) + self.bottleneck(x)
        return out
