"""Depthwise convolution, alone or as the branch of a ConvNeXt block."""

from typing import Any

import torch
from timm.layers.mlp import Mlp
from timm.layers.norm import LayerNorm
from torch import nn

from search_spaces.network.parts import part


@part("mixers", "dwconv")
class DepthwiseConv(nn.Module):
    """Depthwise kernel x kernel with bias; with conv_ratio > 0 followed by LayerNorm, a two-layer MLP and, where set,
    the layer scale.

    (B, C, H, W) -> (B, C, H, W). With a ratio it is the residual branch of ConvNeXt (arXiv 2201.03545); without one it
    mixes positions only.

    With the knob `norm` at `batch` the convolution has BatchNorm behind it and no bias; at `batch_zero` that norm
    starts at zero, as in SHViT (2401.16456).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        kernel = block["kernel"]
        ratio = block["conv_ratio"]
        scale = block["layer_scale"]
        norm = dict(block.get("conv_options", ())).get("norm", "none")
        self.conv_dw = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=norm == "none")
        self.norm_dw = nn.Identity() if norm == "none" else nn.BatchNorm2d(width)
        if norm == "batch_zero":
            nn.init.zeros_(self.norm_dw.get_parameter("weight"))
        self.norm = LayerNorm(width) if ratio else nn.Identity()
        self.mlp = Mlp(width, ratio * width) if ratio else nn.Identity()
        self.gamma = nn.Parameter(scale * torch.ones(width)) if scale else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.mlp(self.norm(self.norm_dw(self.conv_dw(x)).permute(0, 2, 3, 1)))
        if self.gamma is not None:
            x = x * self.gamma
        return x.permute(0, 3, 1, 2)
