"""The first attention of a stage of CoAtNet's."""

import math

import torch
from torch import nn

from search_spaces.network.layers.halving import HalvingPool, PooledShortcut
from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.mixers.full import FullAttention
from search_spaces.network.parts import part


@part("downsamples", "attention_coatnet")
class AttentionDownsample(nn.Module):
    """LayerNorm, average pooling and full attention with relative positions, beside a pooled shortcut.

    (B, C, H, W) -> (B, width, H / stride, W / stride). Queries, keys and values come from C channels. Source: CoAtNet
    (arXiv 2106.04803).

    Args:
        in_width: channels before.
        width: channels behind.
        stride: 1 or 2.
        map_size: side of the map behind.
        head_dim: channels of a head where that divides the width, else the largest power of two that divides both.
    """

    def __init__(self, in_width: int, width: int, stride: int, map_size: int, head_dim: int = 32) -> None:
        super().__init__()
        head_dim = math.gcd(head_dim, width)
        block = {"heads": width // head_dim, "head_dim": head_dim, "position": "relative", "map_size": map_size}
        self.shortcut = PooledShortcut(in_width, width, stride)
        self.norm1 = MAP_NORMS["layer"](in_width)
        self.pool = HalvingPool() if stride > 1 else nn.Identity()
        self.mixer = FullAttention(width, block, in_width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = self.mixer(self.pool(self.norm1(x)).permute(0, 2, 3, 1))
        out: torch.Tensor = self.shortcut(x) + mixed.permute(0, 3, 1, 2)
        return out
