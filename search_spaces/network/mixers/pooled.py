"""Attention whose keys and values are read from a pooled map."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models import register_notrace_module
from torch import nn

from search_spaces.network.layers.heads import from_heads, to_heads
from search_spaces.network.parts import part


@part("mixers", "pooled")
class PooledAttention(nn.Module):
    """softmax(Q K^T / sqrt(head_dim)) V, then a linear layer; Q of all N = H * W positions, K and V of M pooled ones.

    (B, H, W, C) -> (B, H, W, C). O(N M C). Knobs of the block's spec:

    - form: `convolved`, a dense ratio x ratio convolution with that stride, then LayerNorm (PVTv2's spatial reduction);
      `averaged`, adaptive average pooling to pool x pool, a 1x1 convolution, LayerNorm, GELU (its linear form);
      `raster`, means of ratio^2 consecutive tokens by rows, then BatchNorm (Next-ViT).
    - ratio, pool: see there. Without a reduction (ratio 1) keys are read from the normalised tokens themselves.

    Rows, columns and tokens that fill no whole patch give no key, as published. A map smaller than one patch is padded
    with zeros to one; `raster` takes the mean of what there is.

    Source: PVTv2 (arXiv 2106.13797), Next-ViT (2207.05501).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.heads = block["heads"]
        self.q = nn.Linear(width, width)
        self.pool = make_key_pool(width, dict(block.get("options", ())))
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        q = to_heads(self.q(x.reshape(B, H * W, C)), self.heads)
        k, v = self.kv(self.pool(x)).chunk(2, dim=2)
        mixed = F.scaled_dot_product_attention(q, to_heads(k, self.heads), to_heads(v, self.heads))
        out: torch.Tensor = self.proj(from_heads(mixed)).view(B, H, W, C)
        return out


@register_notrace_module
class ConvolvedPool(nn.Module):
    """(B, H, W, C) -> (B, M, C): a convolution of each whole ratio x ratio patch, then LayerNorm."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.conv = nn.Conv2d(width, width, ratio, ratio)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        below = max(0, self.ratio - x.shape[1])
        right = max(0, self.ratio - x.shape[2])
        if below > 0 or right > 0:
            x = F.pad(x, (0, 0, 0, right, 0, below))
        out: torch.Tensor = self.norm(self.conv(x.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2))
        return out


class AveragedPool(nn.Module):
    """(B, H, W, C) -> (B, pool^2, C): adaptive average pooling, 1x1 convolution, LayerNorm, GELU."""

    def __init__(self, width: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.conv = nn.Conv2d(width, width, 1)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.conv(F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), (self.pool, self.pool)))
        return F.gelu(self.norm(pooled.flatten(2).transpose(1, 2)))


@register_notrace_module
class RasterPool(nn.Module):
    """(B, H, W, C) -> (B, M, C): means of `count` consecutive tokens by rows, then BatchNorm. The rest is dropped."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        count = min(self.count, H * W)
        keys = H * W // count
        means = x.reshape(B, H * W, C)[:, : keys * count].reshape(B, keys, count, C).mean(dim=2)
        out: torch.Tensor = self.norm(means.flatten(0, 1)).view(B, keys, C)
        return out


class TokensOfMap(nn.Module):
    """(B, H, W, C) -> (B, H * W, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1, 2)


def make_key_pool(width: int, options: dict[str, str]) -> nn.Module:
    """What the keys of pooled attention are read from."""
    form = options.get("form", "convolved")
    ratio = int(options.get("ratio", "1"))
    if form == "averaged":
        return AveragedPool(width, int(options.get("pool", "7")))
    if ratio == 1:
        return TokensOfMap()
    return ConvolvedPool(width, ratio) if form == "convolved" else RasterPool(width, ratio * ratio)
