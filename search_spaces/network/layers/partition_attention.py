"""Attention within equal groups of a map's positions, whichever way the map is cut into them."""

from typing import Any

import torch
from timm.layers.norm import LayerNorm
from torch import nn

from search_spaces.network.layers.attend import attend_in_groups, unseen
from search_spaces.network.layers.partition import from_groups, pad_to, to_groups
from search_spaces.network.layers.positions import RelativePositionBias, of_pairs


class DynamicPositionBias(nn.Module):
    """A bias per head and offset between two positions, from the offset itself: (H, W) -> (1, heads, H W, H W).

    An MLP of C / 16 channels reads (rows, columns) of query - key as they are: linear, then three times LayerNorm, ReLU
    and linear. It holds for groups of any size. 2 p^2 + 11 p + p heads + heads parameters for p = C / 16.

    Source: CrossFormer (arXiv 2108.00154).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        hidden = width // 16
        self.proj = nn.Linear(2, hidden)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(LayerNorm(hidden, eps=1e-5), nn.ReLU(), nn.Linear(hidden, out))
                for out in (hidden, hidden, heads)
            )
        )

    def forward(self, height: int, width: int) -> torch.Tensor:
        weight = self.proj.weight
        rows = torch.arange(1 - height, height, device=weight.device, dtype=weight.dtype)
        columns = torch.arange(1 - width, width, device=weight.device, dtype=weight.dtype)
        offsets = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=2).flatten(0, 1)
        biases: torch.Tensor = self.layers(self.proj(offsets)).t()
        return of_pairs(biases, height, width)


class PartitionAttention(nn.Module):
    """Base of the mixers that attend within groups of rows x columns positions; a subclass cuts the map in `forward`.

    Knobs (`options`): `rows` and `columns` of a group; `bias` of the offset between two positions of a group, a learned
    `table`, `dynamic` or `none`; `sign` of the table's offset, key - query as in timm's networks with TensorFlow's
    weights or query - key as in Swin; `padding` where groups do not divide the map, zeros that are `masked` as keys or
    take part as keys (`zero`). On maps that are smaller than a group of dynamic bias the group is as large as the
    shorter side.
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.heads = block["heads"]
        self.head_dim = block["head_dim"]
        self.rows = int(options.get("rows", 7))
        self.columns = int(options.get("columns", 7))
        kind = options.get("bias", "table")
        self.is_dynamic = kind == "dynamic"
        self.is_key_first = kind == "table" and options.get("sign", "key_query") == "key_query"
        self.is_masked = options.get("padding", "masked") == "masked"
        self.qkv = nn.Linear(width, 3 * width)
        self.bias: nn.Module | None = None
        if kind == "table":
            self.bias = RelativePositionBias(self.heads, self.rows, self.columns)
        elif kind == "dynamic":
            self.bias = DynamicPositionBias(width, self.heads)
        self.proj = nn.Linear(width, width)

    def is_small(self, height: int, width: int) -> bool:
        """Whether a map is one group of dynamic bias, or a row of them."""
        return self.is_dynamic and min(height, width) <= min(self.rows, self.columns)

    def attend(self, x: torch.Tensor, rows: int, columns: int, down: int, across: int) -> torch.Tensor:
        """(B, H, W, C) -> the same: attention within the groups of `to_groups`."""
        B, H, W, _ = x.shape
        padded = pad_to(x, rows * down, columns * across)
        groups = to_groups(padded, rows, columns, down, across)
        G = groups.shape[1]
        qkv = self.qkv(groups).view(B, G, rows * columns, 3, self.heads, self.head_dim)
        q, k, v = qkv.unbind(3)
        bias = self.position_bias(rows, columns)
        if self.is_masked and (H % (rows * down) or W % (columns * across)):
            outside = pad_to(x.new_zeros((1, H, W, 1)), rows * down, columns * across, unseen())
            mask = to_groups(outside, rows, columns, down, across).view(G, 1, rows * columns)
            bias = mask.expand(self.heads, G, 1, rows * columns) if bias is None else bias + mask
        mixed = attend_in_groups(q, k, v, bias)
        mixed = from_groups(mixed, rows, columns, down, across, padded.shape[1], padded.shape[2])
        out: torch.Tensor = self.proj(mixed[:, :H, :W])
        return out

    def position_bias(self, rows: int, columns: int) -> torch.Tensor | None:
        """(heads, 1, n, n) of a group's n positions, query by key."""
        if self.bias is None:
            return None
        bias: torch.Tensor = self.bias(rows, columns).transpose(0, 1)
        return bias.transpose(2, 3) if self.is_key_first else bias
