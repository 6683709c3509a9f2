"""A learned bias of pairs of positions that does not tell left from right."""

import torch
import torch.nn.functional as F
from timm.models import register_notrace_module
from torch import nn

from search_spaces.network.layers.positions import of_pairs


@register_notrace_module
class MirroredPositionBias(nn.Module):
    """A learned bias per head and distance in rows and columns: (H, W) -> (1, heads, H W, H W).

    The table, (heads, rows, columns), is interpolated on maps of another size. Source: LeViT (arXiv 2104.01136).

    Args:
        heads: of the attention.
        rows: height of the map that the table is made for.
        columns: its width.
    """

    undecayed = ("bias_table",)

    def __init__(self, heads: int, rows: int, columns: int) -> None:
        super().__init__()
        self.rows = rows
        self.columns = columns
        self.bias_table = nn.Parameter(torch.zeros(heads, rows, columns))

    def forward(self, height: int, width: int) -> torch.Tensor:
        table: torch.Tensor = self.bias_table
        if height != self.rows or width != self.columns:
            # The distance 0 keeps its value, and so does the largest.
            table = F.interpolate(table[None], size=(height, width), mode="bilinear", align_corners=True)[0]
        rows = torch.arange(1 - height, height, device=table.device).abs()
        columns = torch.arange(1 - width, width, device=table.device).abs()
        signed = table.index_select(1, rows).index_select(2, columns)
        return of_pairs(signed.flatten(1), height, width)
