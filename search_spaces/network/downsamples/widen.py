"""More channels beside those that are there."""

import torch
from torch import nn

from search_spaces.network.layers.multi_head_conv import MultiHeadConv
from search_spaces.network.layers.norms import ConvNorm
from search_spaces.network.parts import part


@part("downsamples", "widen")
class Widen(nn.Module):
    """x beside u + multi-head convolution (u), where u = BatchNorm(1x1 (x)) has the channels that are added.

    (B, C, H, W) -> (B, width, H, W); for stride 1. Source: the middle of Next-ViT's transformer block (arXiv
    2207.05501), between attention and feed-forward.
    """

    def __init__(self, in_width: int, width: int, stride: int, map_size: int, head_dim: int = 32) -> None:
        super().__init__()
        self.proj = ConvNorm(in_width, width - in_width)
        self.mhca = MultiHeadConv(width - in_width, head_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = self.proj(x)
        return torch.cat((x, u + self.mhca(u)), dim=1)
