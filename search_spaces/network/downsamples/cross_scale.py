"""Convolutions over patches of two sizes."""

import torch
from torch import nn

from search_spaces.network.layers.cross_scale import CrossScaleConvs
from search_spaces.network.layers.norms import MAP_NORMS
from search_spaces.network.parts import part


@part("downsamples", "cross_scale")
class CrossScaleDownsample(nn.Module):
    """LayerNorm, then 2x2 and 4x4 with stride 2 side by side. Source: CrossFormer (arXiv 2108.00154).

    Without stride the patches have the sizes 1 and 3.
    """

    def __init__(self, in_width: int, width: int, stride: int, map_size: int) -> None:
        super().__init__()
        self.norm = MAP_NORMS["layer_1e-5"](in_width)
        self.convs = CrossScaleConvs(in_width, width, (stride, stride + 2), stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.convs(self.norm(x))
        return out
