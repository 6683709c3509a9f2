"""Aggregated attention: each position attends to its neighbours and to a pooled map in one softmax."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import register_notrace_module
from torch import nn

from search_spaces.network.layers.attend import attend_with
from search_spaces.network.layers.continuous_bias import ContinuousPositionBias
from search_spaces.network.layers.heads import from_heads, to_heads
from search_spaces.network.parts import part


@part("mixers", "aggregated")
@register_notrace_module
class AggregatedAttention(nn.Module):
    """Cosine attention over the window x window neighbours and the M positions of a pooled map, in one softmax.

    (B, H, W, C) -> (B, H, W, C). O(N (M + window^2) C) for N = H * W positions. q^ = Q / |Q| per head, and
    q = (q^ + e) softplus(t) log(n), where e and t are learned per head and n is the number of keys that the position
    sees. Logits are q . k^, plus a learned bias per neighbour, and a bias made from the offset for pooled positions.
    Neighbours have learned weights q^ T + b too, which are added behind the softmax. Knobs of the block's spec:

    - form: `aggregated`; `cosine`, all positions as keys and no neighbours, as published for the last stage.
    - ratio: the pooled map has floor(H / ratio) x floor(W / ratio) positions, at least one.
    - window: side of the neighbourhood, odd.

    Source: TransNeXt (arXiv 2311.17132).
    """

    undecayed = ("query_embedding", "temperature")

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.heads = block["heads"]
        head_dim = block["head_dim"]
        is_cosine = options.get("form") == "cosine"
        self.ratio = 1 if is_cosine else int(options.get("ratio", "2"))
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.query_embedding = nn.Parameter(0.02 * torch.randn(self.heads, 1, head_dim))
        # Its softplus is 1 / 0.24 at first, as published.
        self.temperature = nn.Parameter(torch.full((self.heads, 1, 1), math.log(math.exp(1 / 0.24) - 1)))
        self.bias = ContinuousPositionBias(self.heads, block["map_size"], block["map_size"])
        self.pool = None if is_cosine else PointwisePool(width)
        window = int(options.get("window", "3"))
        self.neighbours = None if is_cosine else NeighbourWeights(self.heads, head_dim, window)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        rows = max(1, H // self.ratio)
        columns = max(1, W // self.ratio)
        tokens = x.reshape(B, H * W, C)
        unit = F.normalize(to_heads(self.q(tokens), self.heads), dim=3)
        q = (unit + self.query_embedding) * F.softplus(self.temperature)
        bias = self.bias(H, W, rows, columns)
        if self.pool is not None and self.neighbours is not None:
            pooled = self.kv(self.pool(x, rows, columns))
            mixed = self.neighbours(q, unit, self.kv(tokens), pooled, bias, H, W)
        else:
            k, v = self.kv(tokens).chunk(2, dim=2)
            k = F.normalize(to_heads(k, self.heads), dim=3)
            q = q * math.log(H * W)
            v = to_heads(v, self.heads)
            mixed = attend_with(bias[None], q.to(v.dtype), k.to(v.dtype), v, 1.0)
            # Whether the kernel returns positions or heads first is its own matter; an exporter must not rely on it.
            mixed = mixed.clone(memory_format=torch.contiguous_format)
        out: torch.Tensor = self.proj(from_heads(mixed)).view(B, H, W, C)
        return out


class PointwisePool(nn.Module):
    """(B, H, W, C) -> (B, rows * columns, C): 1x1 convolution, GELU, adaptive average pooling, LayerNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 1)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        pooled = F.adaptive_avg_pool2d(F.gelu(self.conv(x.permute(0, 3, 1, 2))), (rows, columns))
        out: torch.Tensor = self.norm(pooled.flatten(2).transpose(1, 2))
        return out


class NeighbourWeights(nn.Module):
    """The one softmax of aggregated attention, over neighbours and pooled positions."""

    undecayed = ("bias_table",)

    def __init__(self, heads: int, head_dim: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.bias_table = nn.Parameter(0.0004 * torch.randn(heads, window * window))
        self.tokens = nn.Parameter(0.02 * torch.randn(heads, head_dim, window * window))
        self.token_bias = nn.Parameter(torch.zeros(heads, 1, window * window))

    def forward(
        self,
        q: torch.Tensor,
        unit: torch.Tensor,
        kv: torch.Tensor,
        pooled: torch.Tensor,
        bias: torch.Tensor,
        height: int,
        width: int,
    ) -> torch.Tensor:
        """Values mixed by head.

        Args:
            q: (B, heads, N, head_dim), not yet scaled by the logarithm of the number of keys.
            unit: queries of length 1, (B, heads, N, head_dim).
            kv: keys before values of every position, (B, N, 2 C).
            pooled: the same of the pooled map, (B, M, 2 C).
            bias: of pooled positions, (heads, N, M).
            height: of the map.
            width: of the map.

        Returns:
            (B, heads, N, head_dim).
        """
        k, v = kv.chunk(2, dim=2)
        near_k = self.around(from_heads(F.normalize(to_heads(k, self.heads), dim=3)), height, width)
        near_v = self.around(v, height, width)
        k, v = pooled.chunk(2, dim=2)
        far_k = F.normalize(to_heads(k, self.heads), dim=3)
        inside = self.inside(height, width, q)
        q = q * torch.log(inside.sum(dim=1, keepdim=True) + far_k.shape[2])
        # Sums of products by element: as matrix products they would be as many small ones as there are positions.
        near = (q.transpose(2, 3)[:, :, :, None] * near_k).sum(dim=2).transpose(2, 3) + self.bias_table[:, None]
        near = near.masked_fill(inside == 0, float("-inf"))
        weights = torch.cat((near, q @ far_k.transpose(2, 3) + bias), dim=3).softmax(dim=3)
        count = self.window * self.window
        near_weights = weights[:, :, :, :count] + unit @ self.tokens + self.token_bias
        near_sum = (near_weights.transpose(2, 3)[:, :, None] * near_v).sum(dim=3).transpose(2, 3)
        out: torch.Tensor = near_sum + weights[:, :, :, count:] @ to_heads(v, self.heads)
        return out

    def around(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """(B, N, C) -> (B, heads, head_dim, window^2, N): the neighbours of each position, by rows, zeros outside."""
        B, N, C = x.shape
        columns = F.unfold(x.transpose(1, 2).reshape(B, C, height, width), self.window, padding=self.window // 2)
        return columns.view(B, self.heads, C // self.heads, self.window * self.window, N)

    def inside(self, height: int, width: int, like: torch.Tensor) -> torch.Tensor:
        """(N, window^2): 1 where the neighbour lies on the map, else 0."""
        ones = torch.ones(1, 1, height, width, device=like.device, dtype=like.dtype)
        return F.unfold(ones, self.window, padding=self.window // 2)[0].t()
