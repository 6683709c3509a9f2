"""Convolutions over patches of four sizes."""

import torch
from torch import nn

from search_spaces.network.layers.cross_scale import CrossScaleConvs
from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.parts import part


@part("stems", "cross_scale")
class CrossScaleStem(nn.Module):
    """4x4, 8x8, 16x16 and 32x32 with stride 4 side by side, norm. Source: CrossFormer (arXiv 2108.00154)."""

    stride = 4
    image_convs = ("convs.0", "convs.1", "convs.2", "convs.3")

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        super().__init__()
        self.convs = CrossScaleConvs(in_chans, width, (4, 8, 16, 32), 4)
        self.norm = MAP_NORMS[norm](width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(self.convs(x))
        return out
