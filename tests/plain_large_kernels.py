"""VAN and HorNet written plainly, with the authors' names of parameters: the oracles of their converters.

Sources: arXiv 2202.09741 and 2207.14284. Nothing here is from search_spaces.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


def over_channels(norm: nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    """LayerNorm of each position of a map (B, C, H, W)."""
    out: torch.Tensor = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return out


def around(width: int, kernel: int, dilation: int = 1) -> nn.Conv2d:
    """Depthwise, as large as its input."""
    return nn.Conv2d(width, width, kernel, padding=kernel // 2 * dilation, dilation=dilation, groups=width)


class PlainVan(nn.Module):
    """(B, 3, H, W) -> (B, 10)."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        before = 3
        for stage, (width, depth, ratio) in enumerate(zip(widths, depths, (8, 8, 4, 4), strict=True), 1):
            embed = nn.Module()
            embed.proj = nn.Conv2d(before, width, 7, 4, 3) if stage == 1 else nn.Conv2d(before, width, 3, 2, 1)
            embed.norm = nn.BatchNorm2d(width)
            self.add_module(f"patch_embed{stage}", embed)
            self.add_module(f"block{stage}", nn.ModuleList(van_block(width, ratio) for _ in range(depth)))
            self.add_module(f"norm{stage}", nn.LayerNorm(width, eps=1e-6))
            before = width
        self.head = nn.Linear(before, 10)
        self.stages = len(widths)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for stage in range(1, self.stages + 1):
            embed = self.get_submodule(f"patch_embed{stage}")
            x = embed.norm(embed.proj(x))
            for block in self.get_submodule(f"block{stage}").children():
                x = x + block.layer_scale_1[:, None, None] * van_attention(block.attn, block.norm1(x))
                hidden = F.gelu(block.mlp.dwconv.dwconv(block.mlp.fc1(block.norm2(x))))
                x = x + block.layer_scale_2[:, None, None] * block.mlp.fc2(hidden)
            x = over_channels(self.get_submodule(f"norm{stage}"), x)
        out: torch.Tensor = self.head(x.mean(dim=(2, 3)))
        return out


def van_block(width: int, ratio: int) -> nn.Module:
    """The parameters of one block."""
    block = nn.Module()
    block.layer_scale_1 = nn.Parameter(0.01 * torch.ones(width))
    block.layer_scale_2 = nn.Parameter(0.01 * torch.ones(width))
    block.norm1 = nn.BatchNorm2d(width)
    block.norm2 = nn.BatchNorm2d(width)
    block.attn = nn.Module()
    block.attn.proj_1 = nn.Conv2d(width, width, 1)
    block.attn.proj_2 = nn.Conv2d(width, width, 1)
    unit = block.attn.spatial_gating_unit = nn.Module()
    unit.conv0 = around(width, 5)
    unit.conv_spatial = around(width, 7, dilation=3)
    unit.conv1 = nn.Conv2d(width, width, 1)
    block.mlp = nn.Module()
    block.mlp.fc1 = nn.Conv2d(width, ratio * width, 1)
    block.mlp.dwconv = nn.Module()
    block.mlp.dwconv.dwconv = around(ratio * width, 3)
    block.mlp.fc2 = nn.Conv2d(ratio * width, width, 1)
    return block


def van_attention(attn: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The large kernel weighs its own input."""
    unit = attn.spatial_gating_unit
    u = F.gelu(attn.proj_1(x))
    out: torch.Tensor = attn.proj_2(u * unit.conv1(unit.conv_spatial(unit.conv0(u)))) + x
    return out


class PlainHorNet(nn.Module):
    """(B, 3, H, W) -> (B, 10); filters of 7x7."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), nn.LayerNorm(widths[0], eps=1e-6))
        self.downsample_layers = nn.ModuleList([stem])
        for before, width in pairwise(widths):
            layers = nn.Sequential(nn.LayerNorm(before, eps=1e-6), nn.Conv2d(before, width, 2, 2))
            self.downsample_layers.append(layers)
        self.stages = nn.ModuleList()
        for order, (width, depth) in enumerate(zip(widths, depths, strict=True), 2):
            self.stages.append(nn.ModuleList(hornet_block(width, order) for _ in range(depth)))
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for stage, (layers, blocks) in enumerate(zip(self.downsample_layers, self.stages, strict=True)):
            first, second = layers
            x = second(over_channels(first, x)) if stage else over_channels(second, first(x))
            for block in blocks:
                mixed = gated_conv(block.gnconv, over_channels(block.norm1, x))
                x = x + block.gamma1[:, None, None] * mixed
                hidden = block.pwconv2(F.gelu(block.pwconv1(block.norm2(x.permute(0, 2, 3, 1)))))
                x = x + (block.gamma2 * hidden).permute(0, 3, 1, 2)
        out: torch.Tensor = self.head(self.norm(x.mean(dim=(2, 3))))
        return out


def hornet_block(width: int, order: int) -> nn.Module:
    """The parameters of one block."""
    widths = [width // 2**halvings for halvings in reversed(range(order))]
    block = nn.Module()
    block.norm1 = nn.LayerNorm(width, eps=1e-6)
    block.norm2 = nn.LayerNorm(width, eps=1e-6)
    block.pwconv1 = nn.Linear(width, 4 * width)
    block.pwconv2 = nn.Linear(4 * width, width)
    block.gamma1 = nn.Parameter(1e-6 * torch.ones(width))
    block.gamma2 = nn.Parameter(1e-6 * torch.ones(width))
    block.gnconv = nn.Module()
    block.gnconv.proj_in = nn.Conv2d(width, 2 * width, 1)
    block.gnconv.dwconv = around(sum(widths), 7)
    block.gnconv.pws = nn.ModuleList(nn.Conv2d(few, 2 * few, 1) for few in widths[:-1])
    block.gnconv.proj_out = nn.Conv2d(width, width, 1)
    return block


def gated_conv(mixer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Products of ever more channels, the first with those that no layer lifts."""
    widths = [layer.in_channels for layer in mixer.pws] + [mixer.proj_out.in_channels]
    parts = mixer.proj_in(x)
    p = parts[:, : widths[0]]
    q = mixer.dwconv(parts[:, widths[0] :]) / 3
    begin = 0
    for step, width in enumerate(widths):
        lifted = mixer.pws[step - 1](p) if step else p
        p = lifted * q[:, begin : begin + width]
        begin += width
    out: torch.Tensor = mixer.proj_out(p)
    return out
