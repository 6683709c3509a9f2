"""Two convolutions of stride 2 with nothing between."""

import torch
from torch import nn

from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.parts import part


@part("stems", "two_convs")
class TwoConvsStem(nn.Module):
    """3x3 stride 2, to half of the width and then to all of it, norm. Source: NAT (arXiv 2204.07143)."""

    stride = 4
    image_convs = ("convs.0",)

    def __init__(self, in_chans: int, width: int, norm: str) -> None:
        super().__init__()
        half = width // 2
        self.convs = nn.Sequential(nn.Conv2d(in_chans, half, 3, 2, 1), nn.Conv2d(half, width, 3, 2, 1))
        self.norm = MAP_NORMS[norm](width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(self.convs(x))
        return out
