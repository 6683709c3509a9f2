"""A convolution in the place of attention."""

import torch
from torch import nn

from search_spaces.network.layers.norms import ConvNorm


class MultiHeadConv(nn.Module):
    """3x3 within heads, BatchNorm, ReLU, 1x1 over all channels, no biases: (B, C, H, W) to itself.

    Source: Next-ViT (arXiv 2207.05501), its multi-head convolutional attention.
    """

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.heads = ConvNorm(width, width, 3, groups=width // head_dim)
        self.act = nn.ReLU()
        self.proj = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.proj(self.act(self.heads(x)))
        return out
