"""The mixers as their papers print them: the oracles of benchmarks/mixers.py and of the tests. Tokens are (B, N, C), N
= H * W.

Nothing here is made fast, and no step is shared with search_spaces/network/mixers.
"""

import torch
from torch import nn


class PlainSeparableConv(nn.Module):
    """Depthwise kernel x kernel, then 1x1, both without bias."""

    def __init__(self, in_width: int, width: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, in_width, kernel, padding=kernel // 2, groups=in_width, bias=False)
        self.pointwise_conv = nn.Conv2d(in_width, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.pointwise_conv(self.conv1(x))
        return out


class PlainSegmentConv(nn.Module):
    """(B, 3S, H, W) -> (B, N, S)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = PlainSeparableConv(3 * width, width, 3)
        self.norm = nn.LayerNorm(width)
        self.act = nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.act(self.norm(self.conv(x).flatten(2).transpose(1, 2)))
        return out


class PlainAggregator(nn.Module):
    """(3B, N, C), Q, K and V on the batch axis -> (3B, T, N) of the attended segments and (B, N, S) of the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.segment = width // 5
        self.norm0, self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(self.segment) for _ in range(4))
        self.agg0 = PlainSegmentConv(self.segment)
        self.agg1, self.agg2, self.agg3 = (
            PlainSeparableConv(self.segment, self.segment, kernel) for kernel in (3, 5, 7)
        )
        self.act = nn.Hardswish()

    def forward(self, x: torch.Tensor, height: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
        batch = len(x) // 3
        maps = x.transpose(1, 2).reshape(3 * batch, -1, height, side).split(self.segment, dim=1)
        skipped = maps[4].reshape(3, batch, self.segment, height, side).transpose(0, 1).reshape(batch, -1, height, side)
        mixed = [
            self.act(self.norm0(maps[0])),
            self.act(self.norm1(self.agg1(maps[1]))),
            self.act(self.norm2(self.agg2(maps[2]))),
            self.act(self.norm3(self.agg3(maps[3]))),
        ]
        return torch.cat(mixed, dim=1).flatten(2), self.agg0(skipped)


class PlainRelativePosition(nn.Module):
    """q * CRPE(v), all (B, heads, N, head_dim), for 8 heads."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.widths = [2 * head_dim, 3 * head_dim, 3 * head_dim]
        convs = zip(self.widths, (3, 5, 7), strict=True)
        self.conv_list = nn.ModuleList(
            nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width) for width, kernel in convs
        )

    def forward(self, q: torch.Tensor, v: torch.Tensor, height: int, side: int) -> torch.Tensor:
        batch, heads, positions, dim = v.shape
        parts = v.transpose(2, 3).reshape(batch, heads * dim, height, side).split(self.widths, dim=1)
        encoded = torch.cat([conv(part) for conv, part in zip(self.conv_list, parts, strict=True)], dim=1)
        return q * encoded.reshape(batch, heads, dim, positions).transpose(2, 3)


class PlainGroupMix(nn.Module):
    """GroupMixFormer's attention, (B, H, W, C) -> (B, H, W, C), with 8 heads and 5 segments; parameters have their
    published names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attended = 4 * width // 5
        self.scale = (width / 8) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.aggregator = PlainAggregator(width)
        self.crpe = PlainRelativePosition(self.attended // 8)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, side, width = x.shape
        positions = height * side
        stacked = self.qkv(x.view(batch, positions, width)).reshape(batch, positions, 3, width).permute(2, 0, 1, 3)
        mixed, skipped = self.aggregator(stacked.reshape(3 * batch, positions, width), height, side)
        q, k, v = mixed.reshape(3, batch, 8, self.attended // 8, positions).transpose(3, 4).unbind(0)
        context = torch.einsum("bhnk,bhnv->bhkv", k.softmax(dim=2), v)
        attended = self.scale * torch.einsum("bhnk,bhkv->bhnv", q, context) + self.crpe(q, v, height, side)
        tokens = attended.transpose(1, 2).reshape(batch, positions, self.attended)
        out: torch.Tensor = self.proj(torch.cat([tokens, skipped], dim=2))
        return out.view(x.shape)


class PlainKeyOnly(nn.Module):
    """Key-only attention in its reconstructed default form, 8 heads: (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head_dim = width // 8
        self.kv = nn.Linear(width, 2 * width)
        self.gate = nn.Parameter(torch.randn(8, self.head_dim, 1) * 0.02)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, side, _ = x.shape
        shape = (batch, height * side, 8, self.head_dim)
        k, v = (stream.reshape(shape).transpose(1, 2) for stream in self.kv(x).chunk(2, dim=3))
        saliency = torch.einsum("bhnd,hd->bhn", k, self.gate[:, :, 0]) * self.head_dim**-0.5
        context = torch.einsum("bhn,bhnd->bhd", saliency.softmax(dim=2), v)
        mixed = k.sigmoid() * context[:, :, None]
        out: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return out


class PlainFull(nn.Module):
    """Full attention with its table of all pairs, 8 heads: (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head_dim = width // 8
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, side, _ = x.shape
        shape = (batch, height * side, 8, self.head_dim)
        q, k, v = (stream.reshape(shape).transpose(1, 2) for stream in self.qkv(x).chunk(3, dim=3))
        weights = (torch.einsum("bhnd,bhmd->bhnm", q, k) * self.head_dim**-0.5).softmax(dim=3)
        mixed = torch.einsum("bhnm,bhmd->bhnd", weights, v)
        out: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return out


PLAIN_MIXERS: dict[str, type[nn.Module]] = {"group_mix": PlainGroupMix, "key_only": PlainKeyOnly, "full": PlainFull}
"""Same names as the registry of mixers."""
