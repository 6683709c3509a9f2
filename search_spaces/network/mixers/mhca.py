"""Multi-head convolutional attention: a grouped convolution in the place of attention."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.layers.multi_head_conv import MultiHeadConv
from search_spaces.network.parts import part


@part("mixers", "mhca")
class ConvolutionalAttention(nn.Module):
    """3x3 within heads, BatchNorm, ReLU, 1x1 over all channels; no biases.

    (B, H, W, C) -> (B, H, W, C). In spite of its name no weight depends on the input.

    Source: Next-ViT (arXiv 2207.05501).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.mix = MultiHeadConv(width, block["head_dim"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.mix(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out
