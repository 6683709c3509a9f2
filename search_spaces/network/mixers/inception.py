"""Inception mixer: convolution, maximum and pooled attention, each on channels of its own."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.network.layers.heads import from_heads, split_qkv
from search_spaces.network.parts import part


@part("mixers", "inception")
class InceptionMixer(nn.Module):
    """t = [high(x_high), low(x_low)]; y = PW(t + DW_3 t): the last L channels attend, the first H = C - L do not.

    (B, H, W, C) -> (B, H, W, C). H^2 + 9 H + H + 3 L^2 + 3 L + 9 (L + 2 H) + (L + 2 H) C + C parameters; O(N^2 / s^4)
    for N = H * W.

    Knobs: `attended` is the share of the heads that attend, in percent, rounded to at least one; `pool` is s, the side
    of the cells that the attention averages over. L is the width of the attended heads.

    Source: Inception Transformer (arXiv 2205.12956).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        heads = block["heads"]
        attended = max(1, round(heads * int(options.get("attended", 33)) / 100))
        self.low_width = attended * block["head_dim"]
        self.high_width = width - self.low_width
        self.high = HighFrequencies(self.high_width) if self.high_width else None
        self.low = PooledLowFrequencies(self.low_width, attended, int(options.get("pool", 2)))
        joined = self.low_width + 2 * self.high_width
        self.fuse = nn.Conv2d(joined, joined, 3, padding=1, groups=joined, bias=False)
        self.proj = nn.Conv2d(joined, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 3, 1, 2)
        low = self.low(x[:, self.high_width :])
        mixed = low if self.high is None else torch.cat((self.high(x[:, : self.high_width]), low), dim=1)
        out: torch.Tensor = self.proj(mixed + self.fuse(mixed)).permute(0, 2, 3, 1)
        return out


class HighFrequencies(nn.Module):
    """GELU(DW_3(PW x1)) and GELU(PW(maximum of 3x3 of x2)) for the halves x1 and x2 of the channels.

    (B, C, H, W) -> (B, 2 C, H, W). Only the PW behind the maximum has a bias.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width // 2, width, 1, bias=False)
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.proj = nn.Conv2d(width // 2, width, 1)
        self.act = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        convolved, largest = x.chunk(2, dim=1)
        return torch.cat((self.act(self.conv(self.expand(convolved))), self.act(self.proj(self.pool(largest)))), dim=1)


class PooledLowFrequencies(nn.Module):
    """Full attention over the means of `pool` x `pool` cells, then each cell's value at all its positions.

    (B, C, H, W) -> (B, C, H, W). Cells at the lower and right edge hold what is left where `pool` does not divide the
    side; the published module takes square maps only, of sides that it divides.
    """

    def __init__(self, width: int, heads: int, pool: int) -> None:
        super().__init__()
        self.heads = heads
        self.pool = pool
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        H, W = x.shape[2:]
        cells = F.avg_pool2d(x, self.pool, ceil_mode=True) if self.pool > 1 else x
        q, k, v = split_qkv(self.qkv(cells.flatten(2).transpose(1, 2)), self.heads)
        mixed = from_heads(F.scaled_dot_product_attention(q, k, v)).transpose(1, 2).reshape(cells.shape)
        if self.pool > 1:
            mixed = F.interpolate(mixed, scale_factor=float(self.pool), mode="nearest")[:, :, :H, :W]
        return mixed
