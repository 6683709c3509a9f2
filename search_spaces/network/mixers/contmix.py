"""Context mixing: every position makes kernels from its affinity to a 7 x 7 summary of the map."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models import register_notrace_module
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn

from search_spaces.network.layers.depthwise import DepthwiseSum
from search_spaces.network.layers.norms import ConvNorm
from search_spaces.network.layers.shifted_windows import ShiftedKernels
from search_spaces.network.parts import part

DILATED_BRANCHES = {
    5: ((3, 1), (3, 2)),
    7: ((5, 1), (3, 1), (3, 2), (3, 3)),
    9: ((5, 1), (7, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (7, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    13: ((5, 1), (7, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    15: ((5, 1), (7, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    17: ((5, 1), (7, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
    19: ((5, 1), (7, 1), (9, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
}
"""Side of the large kernel -> kernel and dilation of the branches that are added to it."""


@register_notrace_module
@part("mixers", "contmix")
class ContextMix(nn.Module):
    """y = PW(BatchNorm(SE(PW [small, large] + local(x)) * SiLU(PW x))).

    (B, H, W, C) -> (B, H, W, C), for g groups of channels (the published block has g = 2 num_heads). Per group and
    position, A = Q K^T with the keys of 7 x 7 means of the map; one linear layer makes s^2 + k^2 logits from these 49.
    `small` and `large` apply their softmaxes to half of the values each, over s x s and k x k positions. `local` is a
    depthwise k x k with smaller dilated ones beside it. On maps with a side below k, Q, K and V are read from an
    enlarged map, and the result is averaged back. Linear in N = H * W.

    Knobs: `kernel` is k, `small` is s.

    Source: OverLoCK (arXiv 2502.20087).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.groups: int = block["heads"]
        self.scale: float = block["head_dim"] ** -0.5
        self.kernel = int(options.get("kernel", 7))
        small = int(options.get("small", 5))
        self.context = 7
        self.query = ConvNorm(width, width // 2)
        self.key = ConvNorm(width, width // 2)
        self.value = ConvNorm(width, width)
        self.taps = (small**2, self.kernel**2)
        self.weigh = nn.Linear(self.context**2, sum(self.taps))
        self.small = ShiftedKernels(self.groups, small)
        self.large = ShiftedKernels(self.groups, self.kernel)
        self.fuse = ConvNorm(width, width)
        self.local = nn.Sequential(
            DepthwiseSum(width, ((self.kernel, 1), *DILATED_BRANCHES[self.kernel])), nn.BatchNorm2d(width)
        )
        self.excite = SqueezeExcite(width, rd_channels=max(16, width // 8), act_layer=nn.GELU)
        self.gate = ConvNorm(width, width)
        self.norm = nn.BatchNorm2d(width)
        self.proj = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 3, 1, 2)
        H, W = x.shape[2:]
        read = x if min(H, W) >= self.kernel else enlarged(x, self.kernel)
        mixed = self.mix(read)
        if min(H, W) < self.kernel:
            mixed = F.adaptive_avg_pool2d(mixed, (H, W))
        mixed = self.excite(self.fuse(mixed) + self.local(x)) * F.silu(self.gate(x))
        out: torch.Tensor = self.proj(self.norm(mixed)).permute(0, 2, 3, 1)
        return out

    def mix(self, x: torch.Tensor) -> torch.Tensor:
        """What the dynamic kernels make of a map: (B, C, H, W) -> (B, C, H, W)."""
        B, C, H, W = x.shape
        group = C // (2 * self.groups)
        queries = self.query(x).view(B, self.groups, group, H * W).transpose(2, 3) * self.scale
        summary = F.adaptive_avg_pool2d(x, (self.context, self.context))
        keys = self.key(summary).view(B, self.groups, group, self.context * self.context)
        small, large = self.weigh(queries @ keys).split(self.taps, dim=3)
        first, second = self.value(x).view(B, 2, self.groups, group, H * W).transpose(3, 4).unbind(1)
        mixed = torch.stack((self.small(first, small, H, W), self.large(second, large, H, W)), dim=1)
        return mixed.transpose(3, 4).reshape(B, C, H, W)


def enlarged(x: torch.Tensor, side: int) -> torch.Tensor:
    """(B, C, H, W) interpolated so that the shorter side is `side` and the longer one keeps its ratio, rounded down."""
    H, W = x.shape[2:]
    size = [side, int(side / H * W)] if H < W else [int(side / W * H), side]
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
