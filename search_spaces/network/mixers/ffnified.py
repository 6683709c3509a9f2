"""Attention as a feed-forward: learned depthwise kernels stand for keys and values, GELU for the softmax."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.layers.depthwise import DepthwiseSum
from search_spaces.network.layers.norms import ConvNorm
from search_spaces.network.parts import part


@part("mixers", "ffnified")
class FfnifiedAttention(nn.Module):
    """y = K2(GELU(K1(BatchNorm(PW x)))), K1 and K2 depthwise convolutions.

    (B, H, W, C) -> (B, H, W, C). C^2 + 22 C parameters with kernels of 3 x 3, C^2 + 126 C with 7 x 7. A convolution of
    7 x 7 is the sum of 7 x 7 and 3 x 3 with a BatchNorm each; one of another side has a bias. Knobs: `keys` and
    `values`, the sides of K1 and K2, odd.

    Source: MetaMixer (FFNet, arXiv 2406.02021).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.query = ConvNorm(width, width)
        self.keys = taps_of(width, int(options.get("keys", 3)))
        self.act = nn.GELU()
        self.values = taps_of(width, int(options.get("values", 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.act(self.keys(self.query(x.permute(0, 3, 1, 2))))
        out: torch.Tensor = self.values(weights).permute(0, 2, 3, 1)
        return out


def taps_of(width: int, kernel: int) -> nn.Module:
    """The depthwise convolution of a side: (B, C, H, W) to itself."""
    if kernel == 7:
        return DepthwiseSum(width, ((7, 1), (3, 1)))
    return nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
