"""Halo attention: blocks of queries attend to their own block and the positions around it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.network.layers.attend import attend
from search_spaces.network.layers.partition import from_windows, pad_to, to_overlapping, to_windows
from search_spaces.network.parts import part


@part("mixers", "halo")
class HaloAttention(nn.Module):
    """softmax(Q K^T / sqrt(d) + Q R_rows + Q R_columns) V of each block of b x b queries over (b + 2r)^2 positions.

    (B, H, W, C) -> (B, H, W, C). Positions outside the map have keys and values of zero and are not masked. R are
    learned vectors of the offsets key - query along an axis, which the heads share; d is the width of a head's queries.
    2 (d heads) C + C^2 parameters, without biases, and 2 (2b + 4r - 1) d. Linear in N = H * W.

    Knobs (`options`): `block`, b; `halo`, r; `query_dim`, d, 0 for C / heads; `projection`, a linear layer behind it or
    `none` as published, where a 1x1 convolution of the bottleneck follows.

    Source: HaloNet (arXiv 2103.12731) as in timm.
    """

    undecayed = ("row_table", "column_table")

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.heads = block["heads"]
        self.value_dim = block["head_dim"]
        self.block = int(options.get("block", 8))
        self.halo = int(options.get("halo", 3))
        self.reach = self.block + 2 * self.halo
        self.query_dim = int(options.get("query_dim", 0)) or self.value_dim
        self.q = nn.Linear(width, self.heads * self.query_dim, bias=False)
        self.kv = nn.Linear(width, self.heads * (self.query_dim + self.value_dim), bias=False)
        start = self.query_dim**-0.5
        self.row_table = nn.Parameter(start * torch.randn(2 * self.reach - 1, self.query_dim))
        self.column_table = nn.Parameter(start * torch.randn(2 * self.reach - 1, self.query_dim))
        self.proj = nn.Linear(width, width) if options.get("projection") == "linear" else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        H, W = x.shape[1:3]
        b = self.block
        r = self.halo
        q = pad_to(self.q(x), b, b)
        height, width = q.shape[1:3]
        kv = F.pad(self.kv(x), (0, 0, r, r + width - W, r, r + height - H))
        inside = torch.arange(self.reach, device=x.device)
        rows = torch.arange(0, height, b, device=x.device)[:, None] + inside
        columns = torch.arange(0, width, b, device=x.device)[:, None] + inside
        queries = to_windows(q, b, b).view(-1, b * b, self.heads, self.query_dim)
        around = to_overlapping(kv, rows, columns)
        around = around.view(-1, around.shape[2], self.heads, self.query_dim + self.value_dim)
        k, v = torch.split(around, [self.query_dim, self.value_dim], dim=3)
        mixed = attend(queries, k, v, self.position_bias(queries))
        mixed = mixed.view(x.shape[0], -1, b * b, mixed.shape[2])
        out: torch.Tensor = self.proj(from_windows(mixed, b, b, height, width)[:, :H, :W])
        return out

    def position_bias(self, queries: torch.Tensor) -> torch.Tensor:
        """(G, b b, heads, d) -> (G, heads, b b, w w), w = b + 2r: every query with the vectors of its offsets."""
        b = self.block
        w = self.reach
        within = torch.arange(w, device=queries.device)
        offsets = within[None, :] - within[:b, None] + w - 1
        squares = queries.view(-1, b, b, self.heads, self.query_dim)
        rows = torch.einsum("gyxhd,ykd->ghyxk", squares, self.row_table[offsets])
        columns = torch.einsum("gyxhd,xkd->ghyxk", squares, self.column_table[offsets])
        return (rows[..., :, None] + columns[..., None, :]).flatten(4, 5).flatten(2, 3)
