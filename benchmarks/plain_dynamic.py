"""Convolutions whose kernels depend on their input, as their papers print them: (B, H, W, C) -> (B, H, W, C).

Nothing here is made fast, and no step is shared with search_spaces/network/mixers; weights have the same names.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class PlainConvNorm(nn.Module):
    """A convolution without bias, padded to keep its map, then BatchNorm."""

    def __init__(self, in_width: int, width: int, sides: tuple[int, int] = (1, 1), groups: int = 1, step: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(in_width, width, sides, padding="same", dilation=step, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(self.conv(x))
        return out


class PlainAttentiveConv(nn.Module):
    """One bin, and one sample, after the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.summary = nn.Linear(width, width)
        self.make = nn.Linear(9, 9)
        self.inhibition = nn.Parameter(torch.zeros(width))
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        summary = self.summary(x).flatten(1, 2)
        N = summary.shape[1]
        bins = [summary[:, i * N // 9 : math.ceil((i + 1) * N / 9)].mean(dim=1) for i in range(9)]
        kernels = self.make(F.gelu(torch.stack(bins, dim=2)))
        kernels = kernels - torch.sigmoid(self.inhibition)[:, None] * kernels.mean(dim=2, keepdim=True)
        values = self.value(x).permute(0, 3, 1, 2)
        mixed = [
            F.conv2d(sample[None], kernel.view(-1, 1, 3, 3), padding=1, groups=len(kernel))
            for sample, kernel in zip(values, kernels, strict=True)
        ]
        out: torch.Tensor = self.proj(torch.cat(mixed).permute(0, 2, 3, 1))
        return out


class PlainFfnified(nn.Module):
    """Kernels of 3 x 3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = PlainConvNorm(width, width)
        self.keys = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.values = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.values(F.gelu(self.keys(self.query(x.permute(0, 3, 1, 2))))).permute(0, 2, 3, 1)
        return out


class PlainCompactChannel(nn.Module):
    """1x1 convolutions are linear layers, which have their weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj_in = nn.Linear(width, width)
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.gate = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = F.gelu(self.conv(self.proj_in(x).permute(0, 3, 1, 2)))
        weights = torch.sigmoid(self.gate(F.adaptive_avg_pool2d(u, 1).flatten(1)))
        out: torch.Tensor = self.proj((u * weights[:, :, None, None]).permute(0, 2, 3, 1))
        return out


class PlainGhost(nn.Module):
    """GhostNetV2's module with its gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        gate = nn.Sequential(
            PlainConvNorm(width, width),
            PlainConvNorm(width, width, (1, 5), width),
            PlainConvNorm(width, width, (5, 1), width),
        )
        cheap = PlainConvNorm(half, half, (3, 3), half)
        self.ghost = nn.ModuleDict({"primary": PlainConvNorm(width, half), "cheap": cheap, "gate": gate})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 3, 1, 2)
        primary = F.relu(self.ghost["primary"](x))
        features = torch.cat((primary, F.relu(self.ghost["cheap"](primary))), dim=1)
        gate = torch.sigmoid(self.ghost["gate"](F.avg_pool2d(x, 2)))
        return (features * F.interpolate(gate, size=x.shape[2:], mode="nearest")).permute(0, 2, 3, 1)


class PlainContextMix(nn.Module):
    """Kernels of 7 x 7 and 5 x 5, 4 groups; windows by unfolding, those at borders copies of their neighbours."""

    groups = 4

    def __init__(self, width: int) -> None:
        super().__init__()
        squeeze = max(16, width // 8)
        self.query = PlainConvNorm(width, width // 2)
        self.key = PlainConvNorm(width, width // 2)
        self.value = PlainConvNorm(width, width)
        self.weigh = nn.Linear(49, 25 + 49)
        self.small = nn.ParameterDict({"bias_table": torch.randn(self.groups, 9, 9)})
        self.large = nn.ParameterDict({"bias_table": torch.randn(self.groups, 13, 13)})
        self.fuse = PlainConvNorm(width, width)
        shapes = ((7, 1), (5, 1), (3, 1), (3, 2), (3, 3))
        branches = nn.ModuleList(PlainConvNorm(width, width, (side, side), width, step) for side, step in shapes)
        self.local = nn.ModuleList((nn.ModuleDict({"branches": branches}), nn.BatchNorm2d(width)))
        self.excite = nn.ModuleDict(
            {"conv_reduce": nn.Conv2d(width, squeeze, 1), "conv_expand": nn.Conv2d(squeeze, width, 1)}
        )
        self.gate = PlainConvNorm(width, width)
        self.norm = nn.BatchNorm2d(width)
        self.proj = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 3, 1, 2)
        B, C, H, W = x.shape
        g = self.groups
        queries = self.query(x).view(B, g, -1, H * W) * (C // g) ** -0.5
        keys = self.key(F.adaptive_avg_pool2d(x, 7)).view(B, g, -1, 49)
        logits = self.weigh(torch.einsum("bgcn,bgcm->bgnm", queries, keys)).view(B, g, H, W, -1)
        first, second = self.value(x).chunk(2, dim=1)
        small = self.over_windows(first, logits[..., :25], self.small["bias_table"])
        large = self.over_windows(second, logits[..., 25:], self.large["bias_table"])
        local = self.local[1](sum(branch(x) for branch in self.local[0]["branches"]))
        mixed = self.fuse(torch.cat((small, large), dim=1)) + local
        squeezed = F.gelu(self.excite["conv_reduce"](F.adaptive_avg_pool2d(mixed, 1)))
        mixed = mixed * torch.sigmoid(self.excite["conv_expand"](squeezed)) * F.silu(self.gate(x))
        out: torch.Tensor = self.proj(self.norm(mixed)).permute(0, 2, 3, 1)
        return out

    def over_windows(self, values: torch.Tensor, logits: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) and (B, groups, H, W, k^2) -> (B, C, H, W), one position after the other for the bias."""
        B, C, H, W = values.shape
        k = (table.shape[1] + 1) // 2
        bias = torch.stack([self.offsets(table, place, H, W, k) for place in range(H * W)], dim=1)
        weights = (logits + bias.view(-1, H, W, k * k)).softmax(dim=4)
        edge = [k // 2] * 4
        windows = F.pad(F.unfold(values, k).view(B, C * k * k, H - k + 1, W - k + 1), edge, mode="replicate")
        windows = windows.view(B, self.groups, -1, k * k, H, W)
        return torch.einsum("bghwt,bgcthw->bgchw", weights, windows).reshape(B, C, H, W)

    def offsets(self, table: torch.Tensor, place: int, H: int, W: int, k: int) -> torch.Tensor:
        """The bias of the window of one position, (groups, k^2), at key - query."""
        y, x = divmod(place, W)
        top = min(max(y - k // 2, 0), H - k) - y + k - 1
        left = min(max(x - k // 2, 0), W - k) - x + k - 1
        return table[:, top : top + k, left : left + k].flatten(1)


PLAIN_DYNAMIC: dict[str, type[nn.Module]] = {
    "atconv": PlainAttentiveConv,
    "ffnified": PlainFfnified,
    "dico": PlainCompactChannel,
    "contmix": PlainContextMix,
    "dfc": PlainGhost,
}
"""Same names as the registry of mixers."""
