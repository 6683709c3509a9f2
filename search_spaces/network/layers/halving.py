"""The shortcut of a block that halves the sides of its map."""

import torch
import torch.nn.functional as F
from torch import nn


class HalvingPool(nn.Module):
    """Average pooling that leaves half of the sides, rounded up: (B, C, H, W) -> (B, C, H / 2, W / 2).

    Windows reach over the border as with TensorFlow's "same", and averages skip what lies outside.

    Args:
        kernel: side of the windows, 2 or 3.
    """

    def __init__(self, kernel: int = 2) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        above = (self.kernel - 2 + x.shape[2] % 2) // 2
        left = (self.kernel - 2 + x.shape[3] % 2) // 2
        return F.avg_pool2d(x, self.kernel, 2, (above, left), ceil_mode=True, count_include_pad=False)


class PooledShortcut(nn.Module):
    """Average pooling, then a 1x1 convolution where the width changes: (B, C, H, W) -> (B, width, H / stride,
    W / stride).

    Source: CoAtNet (arXiv 2106.04803).
    """

    def __init__(self, in_width: int, width: int, stride: int, kernel: int = 2) -> None:
        super().__init__()
        self.pool = HalvingPool(kernel) if stride > 1 else nn.Identity()
        self.expand = nn.Conv2d(in_width, width, 1) if in_width != width else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.expand(self.pool(x))
        return out
