"""Group-mix attention (GMA): heads attend over tokens that were aggregated by convolutions of several sizes.

Everything stays in token order, (B, H, W, channels), which the convolutions read as channels_last maps: no tensor is
transposed. S is the width of a segment; "3S" are its Q, K and V side by side.
"""

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm
from torch import nn

from search_spaces.network.parts import part


class SharedConv(nn.Conv2d):
    """Depthwise kernel x kernel convolution of a segment's Q, K and V, which share their kernels: (B, 3S, H, W) -> (B,
    3S, H, W)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.groups = 3 * width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Repeating kilobytes of weights spares stacking Q, K and V on the batch axis.
        maps: torch.Tensor = self._conv_forward(x, torch.cat([self.weight, self.weight, self.weight]), None)
        return maps


class SegmentAggregator(nn.Module):
    """Separable kernel x kernel convolution of one segment's Q, K and V with shared weights: (B, H, W, 3S) -> (B, H, W,
    3S)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.width = width
        self.conv_dw = SharedConv(width, kernel)
        self.conv_pw = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.conv_dw(x.permute(0, 3, 1, 2))
        tokens = maps.permute(0, 2, 3, 1).reshape(3 * x.shape[0] * x.shape[1] * x.shape[2], self.width)
        return F.linear(tokens, self.conv_pw.weight.flatten(1)).view(x.shape)


class SegmentConv(nn.Module):
    """The segment that is not attended: its Q, K and V through one 3x3 separable convolution, LayerNorm and Hardswish.

    (B, H, W, 3S) -> (B, H, W, S).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=False)
        self.conv_pw = nn.Conv2d(3 * width, width, 1, bias=False)
        self.norm = LayerNorm(width, eps=1e-5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.conv_dw(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return F.hardswish(self.norm(F.linear(tokens, self.conv_pw.weight.flatten(1))))


class RelativePosition(nn.Module):
    """Convolutional relative position encoding: depthwise 3x3, 5x5 and 7x7, each on its share of the heads.

    (B, H, W, T) -> (B, H, W, T). Of 8 heads 2, 3 and 3; in general floor(3 heads / 8) for each of the larger two.
    Source: CoaT (arXiv 2104.06399), as used in GroupMixFormer.
    """

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        large = 3 * heads // 8
        shares = {3: heads - 2 * large, 5: large, 7: large}
        self.widths = [share * head_dim for share in shares.values() if share]
        self.convs = nn.ModuleList(
            nn.Conv2d(share * head_dim, share * head_dim, kernel, padding=kernel // 2, groups=share * head_dim)
            for kernel, share in shares.items()
            if share
        )

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        parts = torch.split(v.permute(0, 3, 1, 2), self.widths, dim=1)
        return torch.cat([conv(parts[index]) for index, conv in enumerate(self.convs)], dim=1).permute(0, 2, 3, 1)


@part("mixers", "group_mix")
class GroupMixAttention(nn.Module):
    """Q, K, V in equal channel segments, each aggregated; then Q (softmax_N(K)^T V) / sqrt(C / heads) + Q * CRPE(V),
    and a linear layer.

    (B, H, W, C) -> (B, H, W, C). group_sizes holds one kernel per attended segment, 1 = the token itself; conv_branch
    adds one segment that is convolved only. Heads share the attended channels T equally: head_dim = T / heads. Cost
    linear in N = H * W: 2 N T head_dim multiply-adds beside convolutions and linear layers. The published module is (1,
    3, 5, 7) with the branch and 8 heads.

    Rows of `qkv` are ordered by segment, then by Q, K, V, then by channel (published: Q, K, V, then segment), so that
    each segment's three streams come out of one matrix product side by side. `norm` holds the published BatchNorms of
    the segments one behind the other.

    Source: GroupMixFormer (arXiv 2311.15157) and its released code, from which the details come: BatchNorm and
    Hardswish on the token segment too, statistics joint over Q, K and V, and a scale of C / heads although a head has T
    / heads channels.
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        kernels = block["group_sizes"]
        branch = block["conv_branch"]
        self.heads = block["heads"]
        self.head_dim = block["head_dim"]
        self.segment = width // (len(kernels) + branch)
        self.scale = (width / self.heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.aggregators = nn.ModuleList(
            nn.Identity() if kernel == 1 else SegmentAggregator(self.segment, kernel) for kernel in kernels
        )
        self.norm = nn.BatchNorm2d(self.segment * len(kernels))
        self.branch = SegmentConv(self.segment) if branch else None
        self.position = RelativePosition(self.heads, self.head_dim)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.qkv.weight.split(3 * self.segment)  # type: ignore[no-untyped-call]
        biases = self.qkv.bias.split(3 * self.segment)  # type: ignore[no-untyped-call]
        if self.branch is None:
            ensemble = self.attend(self.aggregate(x, weights, biases))
        else:
            skipped = self.branch(F.linear(x, weights[-1], biases[-1]))  # first, while the cache holds x
            ensemble = torch.cat([self.attend(self.aggregate(x, weights, biases)), skipped], dim=3)
        out: torch.Tensor = self.proj(ensemble)
        return out

    def aggregate(self, x: torch.Tensor, weights: list[torch.Tensor], biases: list[torch.Tensor]) -> torch.Tensor:
        """(B, H, W, C) -> the attended segments' Q, K and V, (B, H, W, 3, T), normalised.

        One matrix product per segment leaves each in memory of its own, which the convolutions would otherwise copy.
        """
        B, H, W, _ = x.shape
        segments = []
        for index, aggregator in enumerate(self.aggregators):
            segments.append(aggregator(F.linear(x, weights[index], biases[index])).view(B, H * W, 3, self.segment))
        # Q, K and V along a position axis: their batch statistics are joint.
        mixed = torch.cat(segments, dim=3).permute(0, 3, 1, 2)
        mixed = F.hardswish(self.norm(mixed), inplace=not self.training)
        return mixed.permute(0, 2, 3, 1).view(B, H, W, 3, self.heads * self.head_dim)

    def attend(self, mixed: torch.Tensor) -> torch.Tensor:
        """Q, K and V, (B, H, W, 3, T) -> attention and position term, (B, H, W, T)."""
        B, H, W, _, T = mixed.shape
        q, k, v = mixed.view(B, H * W, 3, self.heads, self.head_dim).unbind(2)
        context = k.softmax(dim=1).permute(0, 2, 3, 1) @ v.transpose(1, 2)
        attended = (q.transpose(1, 2) @ context).transpose(1, 2)
        local = q * self.position(mixed[:, :, :, 2]).view(B, H * W, self.heads, self.head_dim)
        # The first summand's layout is the sum's: heads return to token order without a copy.
        return torch.add(local, attended, alpha=self.scale).view(B, H, W, T)
