"""MBConv: a mobile inverted bottleneck as a residual branch."""

from functools import partial
from typing import Any

import torch
from timm.models._efficientnet_blocks import InvertedResidual, SqueezeExcite
from torch import nn

from search_spaces.network.parts import part


@part("mixers", "mbconv")
class MBConv(nn.Module):
    """1x1 to conv_ratio * width, depthwise kernel x kernel, squeeze-and-excitation, 1x1 back; BatchNorm after each,
    GELU after two.

    (B, C, H, W) -> (B, C, H, W). The residual is the block's.

    Source: MobileNetV2 (arXiv 1801.04381) through timm; GELU and expansion 4 as in CoAtNet (2106.04803) and MOAT
    (2210.01820).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        squeeze_width = round(width * block["se_ratio"])
        excite: Any = partial(SqueezeExcite, rd_channels=squeeze_width) if squeeze_width else None
        self.bottleneck = InvertedResidual(
            width,
            width,
            dw_kernel_size=block["kernel"],
            exp_ratio=block["conv_ratio"],
            noskip=True,
            act_layer=nn.GELU,
            se_layer=excite,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.bottleneck(x)
        return out
