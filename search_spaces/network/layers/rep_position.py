"""A position term of three branches and channel weights."""

from typing import Any

import torch
from timm.layers.squeeze_excite import SEModule
from torch import nn

from search_spaces.network.layers.norms import ConvNorm


class RepPosition(nn.Module):
    """SE(x + BatchNorm(DW_3 x) + BatchNorm(DW_1 x)), in the form of training: (B, C, H, W) to itself.

    SE is squeeze-and-excitation with a quarter of the channels inside. Source: RepViT (arXiv 2307.09283), as LSNet
    (2503.23135) has it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = ConvNorm(width, width, 3, groups=width)
        self.point = ConvNorm(width, width, 1, groups=width)
        excite: Any = SEModule(width, rd_channels=max(1, width // 4))
        self.excite = excite

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.excite(x + self.conv(x) + self.point(x))
        return out
