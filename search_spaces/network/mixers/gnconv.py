"""Recursive gated convolution: products of ever more channels with what a large kernel makes of the input."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm
from timm.layers.weight_init import trunc_normal_
from torch import nn

from search_spaces.network.parts import part


@part("mixers", "gnconv")
class RecursiveGatedConv(nn.Module):
    """[p, q_0 .. q_n-1] = split(linear x), q = filter(q) / 3; p = p * q_0; p = linear_i(p) * q_i; linear(p).

    (B, H, W, C) -> (B, H, W, C). Step i has d_i = C / 2^(n - 1 - i) channels, n is the knob `order`. The filter is a
    depthwise convolution of the knob `kernel`, or with `filter` global half of it a product of spectra. No norm and no
    activation.

    Source: HorNet (arXiv 2207.14284).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        order = int(options.get("order", 2))
        self.scale = 1 / 3
        self.widths = [width // 2 ** (order - 1 - step) for step in range(order)]
        filtered = sum(self.widths)
        self.proj_in = nn.Linear(width, 2 * width)
        self.filter: nn.Module
        if options.get("filter") == "global":
            side = block["map_size"]
            self.filter = LocalGlobalFilter(filtered, side, side // 2 + 1)
        else:
            kernel = int(options.get("kernel", 7))
            self.filter = nn.Conv2d(filtered, filtered, kernel, padding=kernel // 2, groups=filtered)
        self.lifts = nn.ModuleList(nn.Linear(step, 2 * step) for step in self.widths[:-1])
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.widths[0]
        p, q = self.proj_in(x).split([first, sum(self.widths)], dim=3)
        q = self.filter(q.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) * self.scale
        gates = q.split(self.widths, dim=3)
        p = p * gates[0]
        for step, lift in enumerate(self.lifts):
            p = lift(p) * gates[step + 1]
        out: torch.Tensor = self.proj(p)
        return out


class LocalGlobalFilter(nn.Module):
    """LayerNorm; depthwise 3x3 of the first half of the channels, a learned product of spectra of the second; LayerNorm
    of the two, channel by channel in turn.

    (B, C, H, W) -> (B, C, H, W).

    Args:
        width: C, even.
        rows: height of the spectrum that the weight is made for.
        columns: its width: half of the map's, and one.
    """

    def __init__(self, width: int, rows: int, columns: int) -> None:
        super().__init__()
        half = width // 2
        self.norm_in = LayerNorm(width)
        self.local = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.spectral = SpectralProduct(half, rows, columns)
        self.norm_out = LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        local, far = self.norm_in(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).chunk(2, dim=1)
        mixed = torch.stack((self.local(local), self.spectral(far)), dim=2).flatten(1, 2)
        out: torch.Tensor = self.norm_out(mixed.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class SpectralProduct(nn.Module):
    """The spectrum of each channel times a learned one, which is a convolution around the map; (B, C, H, W) to itself.

    The weight, (C, rows, columns, 2) with real and imaginary parts, is interpolated on maps of another size. Spectra
    are taken in float32. Source: GFNet (arXiv 2107.00645).
    """

    def __init__(self, width: int, rows: int, columns: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, rows, columns, 2))
        trunc_normal_(self.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        H, W = x.shape[2:]
        weight = self.weight.float()
        if weight.shape[1] != H or weight.shape[2] != W // 2 + 1:
            planes = weight.permute(3, 0, 1, 2)
            planes = F.interpolate(planes, size=(H, W // 2 + 1), mode="bilinear", align_corners=True)
            weight = planes.permute(1, 2, 3, 0)
        spectrum = torch.fft.rfft2(x.float()) * torch.view_as_complex(weight.contiguous())
        out: torch.Tensor = torch.fft.irfft2(spectrum, s=(H, W))
        return out.to(x.dtype)
