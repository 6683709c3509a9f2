"""See large, focus small: a large kernel reads the surroundings and says how a small one weighs the neighbours."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.network.layers.norms import ConvNorm
from search_spaces.network.parts import part


@part("mixers", "lsconv")
class LargeSmallConv(nn.Module):
    """w = GN(PW(ReLU(PW(DW_7(ReLU(PW x)))))); y_c = BatchNorm(sum over 3 x 3 neighbours of w_(c mod C/8) x_c).

    (B, H, W, C) -> (B, H, W, C). Every convolution but the last has a BatchNorm; half of C channels between. The C / 8
    groups of weights, one weight per neighbour, are normalised by GroupNorm; zeros lie around the map. Knobs: `kernel`
    for 7, `small` for 3, `groups` for 8. The published module adds x, which here is the residual of the block.

    Source: LSNet (arXiv 2503.23135).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        kernel = int(options.get("kernel", 7))
        self.small = int(options.get("small", 3))
        self.groups = int(options.get("groups", 8))
        half = width // 2
        shared = width // self.groups
        weights = self.small**2 * shared
        self.weigh = nn.Sequential(
            ConvNorm(width, half),
            nn.ReLU(),
            ConvNorm(half, half, kernel, groups=half),
            ConvNorm(half, half),
            nn.ReLU(),
            nn.Conv2d(half, weights, 1),
            nn.GroupNorm(shared, weights),
        )
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 3, 1, 2)
        mixed = weigh_neighbours(x, self.weigh(x), self.small, self.groups)
        out: torch.Tensor = self.norm(mixed).permute(0, 2, 3, 1)
        return out


def weigh_neighbours(x: torch.Tensor, weights: torch.Tensor, kernel: int, groups: int) -> torch.Tensor:
    """Sum over kernel x kernel neighbours, by rows, of a weight times x; zeros lie around the map.

    Args:
        x: (B, C, H, W).
        weights: (B, C / groups * kernel^2, H, W); channel c takes the set c mod (C / groups).
        kernel: odd.
        groups: channels with the same weights.
    """
    B, C, H, W = x.shape
    edge = kernel // 2
    around = F.pad(x, (edge, edge, edge, edge)).view(B, groups, C // groups, H + 2 * edge, W + 2 * edge)
    weights = weights.view(B, 1, C // groups, kernel * kernel, H, W)
    out = torch.zeros_like(around[..., :H, :W])
    # A sum over the few neighbours; an unfolded map would hold all of them at once.
    for tap in range(kernel * kernel):
        row = tap // kernel
        column = tap % kernel
        out = out + weights[:, :, :, tap] * around[..., row : row + H, column : column + W]
    return out.reshape(B, C, H, W)
