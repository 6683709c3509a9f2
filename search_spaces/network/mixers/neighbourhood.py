"""Neighbourhood attention: every position attends to the equally many positions around it."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models import register_notrace_module
from torch import nn

from search_spaces.network.layers.attend import attend_in_groups, unseen
from search_spaces.network.layers.neighbours import neighbour_tiles, pair_tiles
from search_spaces.network.layers.partition import from_grid, from_windows, pad_to, to_grid, to_overlapping
from search_spaces.network.parts import part


@register_notrace_module
@part("mixers", "neighbourhood")
class NeighbourhoodAttention(nn.Module):
    """softmax(Q K^T / sqrt(head_dim) + bias) V over the kernel x kernel positions around each, then a linear layer.

    (B, H, W, C) -> (B, H, W, C). 4 C^2 + 4 C parameters and (2 kernel - 1)^2 per head for the bias. At borders the
    window is moved inwards, so that it never is cut. Maps smaller than kernel * dilation are padded to it with zeros
    that take part. Keys are read once for a tile of at most kernel x kernel queries, which share them: at most (2
    kernel - 1)^2 per query are compared, masked down to kernel^2. Linear in N = H * W.

    Knobs (`options`): `kernel`; `dilation`, the distance between the positions seen; `bias` of the offset key - query,
    a learned `table` or `none`.

    Sources: NAT (arXiv 2204.07143), with dilation DiNAT (2209.15001).
    """

    undecayed = ("bias_table",)

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.heads = block["heads"]
        self.head_dim = block["head_dim"]
        self.kernel = int(options.get("kernel", 7))
        self.dilation = int(options.get("dilation", 1))
        self.qkv = nn.Linear(width, 3 * width)
        self.bias_table: nn.Parameter | None = None
        if options.get("bias", "table") == "table":
            self.bias_table = nn.Parameter(torch.zeros(self.heads, 2 * self.kernel - 1, 2 * self.kernel - 1))
            nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        H, W = x.shape[1:3]
        D = self.dilation
        height = max(H, self.kernel * D)
        width = max(W, self.kernel * D)
        query_rows, key_rows, row_offsets = neighbour_tiles(height, self.kernel, D, x.device)
        query_columns, key_columns, column_offsets = neighbour_tiles(width, self.kernel, D, x.device)
        # Positions that stand a multiple of the dilation apart become maps of their own.
        x = pad_to(F.pad(x, (0, 0, 0, width - W, 0, height - H)), D, D)
        B, padded_height, padded_width, C = x.shape
        down = padded_height // D
        across = padded_width // D
        maps = self.qkv(to_grid(x, down, across)).view(B * D * D, down, across, 3 * C)
        queries = to_overlapping(maps[..., :C], query_rows, query_columns)
        keys = to_overlapping(maps[..., C:], key_rows, key_columns)
        tiles = D * D * queries.shape[1]
        q = queries.view(B, tiles, queries.shape[2], self.heads, self.head_dim)
        k, v = keys.view(B, tiles, keys.shape[2], 2, self.heads, self.head_dim).unbind(3)
        mixed = attend_in_groups(q, k, v, self.position_bias(pair_tiles(row_offsets, column_offsets, self.kernel)))
        rows = query_rows.shape[1]
        columns = query_columns.shape[1]
        maps = from_windows(mixed.reshape(queries.shape), rows, columns, query_rows.numel(), query_columns.numel())
        maps = maps[:, :down, :across].reshape(B, D * D, down * across, C)
        out: torch.Tensor = self.proj(from_grid(maps, down, across, padded_height, padded_width)[:, :H, :W])
        return out

    def position_bias(self, numbers: torch.Tensor) -> torch.Tensor:
        """Entries of the table, (G, n, m) -> (heads, G, n, m)."""
        side = 2 * self.kernel - 1
        table = self.bias_table
        seen = self.qkv.weight.new_zeros(self.heads, side, side) if table is None else table
        padded = F.pad(seen, (0, 1, 0, 1), value=unseen()).flatten(1)
        G, n, m = numbers.shape
        return padded.index_select(1, numbers.flatten()).view(self.heads, G, n, m)
