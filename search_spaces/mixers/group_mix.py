"""Group-mix attention (GMA): heads attend over tokens that were aggregated by convolutions of several sizes."""

from typing import Any

import torch
from timm.layers.norm import LayerNorm
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.separable_conv import SeparableConvNormAct
from torch import nn

from search_spaces.mixers.registry import mixer


def segment_aggregator(width: int, kernel: int) -> nn.Module:
    """BatchNorm and Hardswish of the tokens (kernel 1) or of a separable convolution of them: (3B, S, H, W) -> (3B, S, H, W).

    Q, K and V lie on the batch axis, so they share weights and batch statistics.
    """
    if kernel == 1:
        return BatchNormAct2d(width, act_layer=nn.Hardswish)
    return SeparableConvNormAct(width, width, kernel, act_layer=nn.Hardswish)


class SegmentConv(nn.Module):
    """The segment that is not attended: its Q, K and V, concatenated, through a 3x3 separable convolution, LayerNorm and Hardswish.

    (B, 3S, H, W) -> (B, H, W, S).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=False)
        self.conv_pw = nn.Conv2d(3 * width, width, 1, bias=False)
        self.norm = LayerNorm(width, eps=1e-5)
        self.act = nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.act(self.norm(self.conv_pw(self.conv_dw(x)).permute(0, 2, 3, 1)))
        return out


class RelativePosition(nn.Module):
    """Convolutional relative position encoding: depthwise 3x3, 5x5 and 7x7, each on its share of the heads.

    (B, T, H, W) -> (B, T, H, W). Of 8 heads 2, 3 and 3; in general floor(3 heads / 8) for each of the larger two.
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
        parts = torch.split(v, self.widths, dim=1)
        return torch.cat([conv(parts[index]) for index, conv in enumerate(self.convs)], dim=1)


@mixer("group_mix")
class GroupMixAttention(nn.Module):
    """Q, K, V in equal channel segments, each aggregated; then Q (softmax_N(K)^T V) / sqrt(C / heads) + Q * CRPE(V), and a linear layer.

    (B, H, W, C) -> (B, H, W, C). group_sizes holds one kernel per attended segment, 1 = the token itself; conv_branch adds one
    segment that is convolved only. Heads share the attended channels T equally: head_dim = T / heads. Cost linear in N = H * W:
    2 N T head_dim multiply-adds beside convolutions and linear layers. The published module is (1, 3, 5, 7) with the branch and 8 heads.

    Source: GroupMixFormer (arXiv 2311.15157) and its released code, from which the details come: BatchNorm and Hardswish on the token
    segment too, statistics joint over Q, K and V, and a scale of C / heads although a head has T / heads channels.
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        kernels, branch = block["group_sizes"], block["conv_branch"]
        self.heads, self.head_dim = block["heads"], block["head_dim"]
        self.segment = width // (len(kernels) + branch)
        self.attended = self.heads * self.head_dim
        self.scale = (width / self.heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.aggregators = nn.ModuleList(segment_aggregator(self.segment, kernel) for kernel in kernels)
        self.branch = SegmentConv(self.segment) if branch else None
        self.position = RelativePosition(self.heads, self.head_dim)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        qkv = self.qkv(x).view(B, H, W, 3, C).permute(3, 0, 4, 1, 2).reshape(3 * B, C, H, W)
        segments = torch.split(qkv, self.segment, dim=1)
        mixed = torch.cat([aggregator(segments[index]) for index, aggregator in enumerate(self.aggregators)], dim=1)
        q, k, v = mixed.view(3, B, self.heads, self.head_dim, H * W).unbind(0)
        position = self.position(mixed[2 * B :]).view(B, self.heads, self.head_dim, H * W)
        context = k.softmax(dim=3) @ v.transpose(2, 3)
        attended = self.scale * (context.transpose(2, 3) @ q) + q * position
        ensemble = attended.reshape(B, self.attended, H, W).permute(0, 2, 3, 1)
        if self.branch is not None:
            skipped = segments[-1].reshape(3, B, self.segment, H, W).transpose(0, 1).reshape(B, 3 * self.segment, H, W)
            ensemble = torch.cat([ensemble, self.branch(skipped)], dim=3)
        out: torch.Tensor = self.proj(ensemble)
        return out
