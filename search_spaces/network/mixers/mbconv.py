"""MBConv: a mobile inverted bottleneck as a residual branch."""

from functools import partial
from typing import Any

import torch
from timm.models._efficientnet_blocks import InvertedResidual, SqueezeExcite
from torch import nn

from search_spaces.network.layers.bottleneck import PreNormBottleneck, squeeze_width
from search_spaces.network.parts import part


@part("mixers", "mbconv")
class MBConv(nn.Module):
    """1x1 to conv_ratio * width, depthwise kernel x kernel, squeeze-and-excitation, 1x1 back; BatchNorm after each,
    GELU after two.

    (B, C, H, W) -> (B, C, H, W). The residual is the block's. The knob `form` takes the norm to the front, as
    published: coatnet, moat (BatchNorm with an epsilon of 1e-3) or maxvit (the same, and GELU by tanh).

    Source: MobileNetV2 (arXiv 1801.04381) through timm; GELU and expansion 4 as in CoAtNet (2106.04803). The other
    forms: CoAtNet, MOAT (2210.01820) and MaxViT (2204.01697).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        form = dict(block.get("conv_options", ())).get("form", "inverted")
        if form == "inverted":
            self.bottleneck: nn.Module = _inverted_bottleneck(width, block)
        else:
            squeeze = squeeze_width(width, block["se_ratio"])
            self.bottleneck = PreNormBottleneck(width, width, form, block["kernel"], block["conv_ratio"], squeeze)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.bottleneck(x)
        return out


def _inverted_bottleneck(width: int, block: dict[str, Any]) -> nn.Module:
    """timm's, without its shortcut."""
    squeeze = round(width * block["se_ratio"])
    excite: Any = partial(SqueezeExcite, rd_channels=squeeze) if squeeze else None
    bottleneck: nn.Module = InvertedResidual(
        width,
        width,
        dw_kernel_size=block["kernel"],
        exp_ratio=block["conv_ratio"],
        noskip=True,
        act_layer=nn.GELU,
        se_layer=excite,
    )
    return bottleneck
