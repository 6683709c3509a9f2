"""Feed-forward with a depthwise convolution between its linear layers."""

from typing import Any

import torch
from timm.models.pvt_v2 import MlpWithDepthwiseConv
from torch import nn

from search_spaces.network.parts import part


@part("ffns", "mlp_dw")
class DepthwiseMlp(nn.Module):
    """Linear C -> rC, depthwise 3x3, GELU, linear rC -> C; r is the block's `ffn_ratio`.

    (B, H, W, C) -> (B, H, W, C). Source: PVTv2 (arXiv 2106.13797).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.mlp = MlpWithDepthwiseConv(width, block["ffn_ratio"] * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        out: torch.Tensor = self.mlp(x.reshape(B, H * W, C), [H, W]).view(B, H, W, C)
        return out
