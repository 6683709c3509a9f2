"""GhostNetV2's module: cheap features, weighed by a gate that sees rows and columns of the halved map."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models import register_notrace_function
from torch import nn

from search_spaces.network.layers.depthwise import DepthwiseNorm
from search_spaces.network.layers.norms import ConvNorm
from search_spaces.network.parts import part


class GatedGhost(nn.Module):
    """P = ReLU(PW x); y = [P, ReLU(DW_3 P)] * up(sigmoid(DW_5x1(DW_1x5(PW(half x))))).

    (B, C, H, W) -> (B, width, H, W). P has half of the channels, rounded up; a channel too many is dropped. Every
    convolution has a BatchNorm behind it and no bias. `half` averages 2 x 2 positions, and `up` repeats the gate.
    """

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.width = width
        half = (width + 1) // 2
        self.primary = ConvNorm(in_width, half)
        self.cheap = ConvNorm(half, half, 3, groups=half)
        self.gate = nn.Sequential(ConvNorm(in_width, width), DepthwiseNorm(width, 1, 5), DepthwiseNorm(width, 5, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        primary = self.primary(x).relu()
        features = torch.cat((primary, self.cheap(primary).relu()), dim=1)[:, : self.width]
        out: torch.Tensor = features * stretched(self.gate(halved(x)).sigmoid(), features)
        return out


@part("mixers", "dfc")
class DecoupledGate(nn.Module):
    """GatedGhost of tokens: (B, H, W, C) -> (B, H, W, C). 3 C^2 / 2 + 45 C / 2 parameters for an even C.

    The gate stands for two fully connected layers, one along rows and one along columns. Source: GhostNetV2 (arXiv
    2211.12905).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.ghost = GatedGhost(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.ghost(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out


@register_notrace_function  # type: ignore[untyped-decorator]
def halved(x: torch.Tensor) -> torch.Tensor:
    """Means of 2 x 2 positions; an odd row or column at the end is left out, one that is alone stays."""
    return F.avg_pool2d(x, [min(2, x.shape[2]), min(2, x.shape[3])])


@register_notrace_function  # type: ignore[untyped-decorator]
def stretched(gate: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """The gate with each value repeated to the size of the features."""
    return F.interpolate(gate, size=[features.shape[2], features.shape[3]], mode="nearest")
