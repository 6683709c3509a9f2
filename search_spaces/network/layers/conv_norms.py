"""Convolutions of stride 2 in a row."""

from itertools import pairwise

from torch import nn

from search_spaces.network.layers.norms import ConvNorm


class StridedConvNorms(nn.Sequential):
    """3x3 stride 2 and BatchNorm, with ReLU between: (B, C, H, W) -> (B, widths[-1], H / 2^n, W / 2^n).

    Args:
        in_width: C.
        widths: behind each of the n convolutions.
    """

    def __init__(self, in_width: int, *widths: int) -> None:
        super().__init__()
        for before, after in pairwise((in_width, *widths)):
            if len(self):
                self.append(nn.ReLU())
            self.append(ConvNorm(before, after, 3, 2))
