"""No change of width or resolution: the blocks take what the stem gives."""

import torch
from torch import nn

from search_spaces.network.parts import part


@part("downsamples", "none")
class NoDownsample(nn.Module):
    """(B, C, H, W) -> the same."""

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x
