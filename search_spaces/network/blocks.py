"""Residual blocks, downsamplings and stems, made from a spec. Maps are (B, C, H, W) between blocks."""

from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from timm.layers.norm import LayerNorm, LayerNorm2d
from timm.layers.separable_conv import SeparableConvNormAct
from timm.models._efficientnet_blocks import InvertedResidual
from timm.models.pvt_v2 import MlpWithDepthwiseConv
from torch import nn

from search_spaces.network.mixers.registry import find_mixer

NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "layer": LayerNorm2d}


class ConvPosition(nn.Module):
    """Conditional position encoding: x + depthwise 3x3 (x). Source: CPVT (arXiv 2102.10882)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.conv(x)
        return out


class DepthwiseMlp(nn.Module):
    """Feed-forward with a depthwise 3x3 between its linear layers; (B, H, W, C) -> (B, H, W, C). Source: PVTv2 (arXiv
    2106.13797)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.mlp = MlpWithDepthwiseConv(width, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        out: torch.Tensor = self.mlp(x.reshape(B, H * W, C), [H, W]).view(B, H, W, C)
        return out


def make_ffn(width: int, block: dict[str, Any]) -> nn.Module | None:
    """The feed-forward of a spec, tokens to tokens without norm and residual; None where it has none."""
    hidden = block["ffn_ratio"] * width
    if block["ffn"] == "none":
        return None
    return Mlp(width, hidden) if block["ffn"] == "mlp" else DepthwiseMlp(width, hidden)


class ConvBlock(nn.Module):
    """x + branch(x) with a convolution mixer as the branch, then a feed-forward where the spec has one."""

    def __init__(self, width: int, block: dict[str, Any], drop_path: float) -> None:
        super().__init__()
        self.mixer = find_mixer(block["conv"])(width, block)
        self.ffn = make_ffn(width, block)
        self.norm2 = LayerNorm(width) if self.ffn is not None else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.drop_path(self.mixer(x))
        if self.ffn is not None and self.norm2 is not None:
            out = out + self.drop_path(self.ffn(self.norm2(out.permute(0, 2, 3, 1))).permute(0, 3, 1, 2))
        return out


class AttentionBlock(nn.Module):
    """Pre-norm attention, then pre-norm feed-forward where the spec has one.

    fused_parallel: a convolution reads the same normalised input, and its output is added to that of the attention.
    """

    def __init__(self, width: int, block: dict[str, Any], drop_path: float) -> None:
        super().__init__()
        self.position = ConvPosition(width) if block["position"] == "cpe" else nn.Identity()
        self.norm1 = LayerNorm(width)
        self.mixer = find_mixer(block["attention"])(width, block)
        self.conv = find_mixer(block["conv"])(width, block) if block["kind"] == "fused_parallel" else None
        self.ffn = make_ffn(width, block)
        self.norm2 = LayerNorm(width) if self.ffn is not None else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.position(x).permute(0, 2, 3, 1)
        normed = self.norm1(x)
        mixed = self.mixer(normed)
        if self.conv is not None:
            mixed = mixed + self.conv(normed.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.drop_path(mixed)
        if self.ffn is not None and self.norm2 is not None:
            x = x + self.drop_path(self.ffn(self.norm2(x)))
        return x.permute(0, 3, 1, 2)


def make_block(width: int, block: dict[str, Any], drop_path: float) -> nn.Module:
    """The block of a spec; fused_serial is a convolution block and an attention block in one."""
    if block["kind"] == "conv":
        return ConvBlock(width, block, drop_path)
    if block["kind"] == "fused_serial":
        return nn.Sequential(
            ConvBlock(width, {**block, "ffn": "none"}, drop_path), AttentionBlock(width, block, drop_path)
        )
    return AttentionBlock(width, block, drop_path)


class StridedMBConv(nn.Module):
    """MBConv that changes width and, with stride 2, halves the sides; its shortcut is averaged and projected.

    (B, C, H, W) -> (B, width, H / stride, W / stride). It expands to four times its output's width. Source: CoAtNet
    (arXiv 2106.04803).
    """

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.shortcut = nn.Conv2d(in_width, width, 1)
        # timm rounds the product down before it makes it divisible by 8; half a channel keeps a quotient from falling
        # below its integer.
        ratio = (4 * width + 0.5) / in_width
        self.bottleneck = InvertedResidual(
            in_width, width, stride=stride, exp_ratio=ratio, noskip=True, act_layer=nn.GELU
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.shortcut(self.pool(x)) + self.bottleneck(x)
        return out


def make_downsample(kind: str, in_width: int, width: int, stride: int) -> nn.Module:
    """separable: GroupMixFormer's patch embedding. patchify: ConvNeXt's. overlap: PVTv2's. mbconv: CoAtNet's."""
    if kind == "none":
        return nn.Identity()
    if kind == "separable":
        return SeparableConvNormAct(in_width, width, 3, stride=stride, act_layer=nn.Hardswish)
    if kind == "patchify":
        return nn.Sequential(LayerNorm2d(in_width), nn.Conv2d(in_width, width, stride, stride))
    if kind == "overlap":
        return nn.Sequential(nn.Conv2d(in_width, width, 3, stride, 1), LayerNorm2d(width))
    return StridedMBConv(in_width, width, stride)


def make_stem(kind: str, in_chans: int, width: int, norm: str) -> nn.Module:
    """(B, in_chans, H, W) -> (B, width, H / 4, W / 4)."""
    if kind == "patchify":
        return nn.Sequential(nn.Conv2d(in_chans, width, 4, 4), NORMS[norm](width))
    if kind == "overlap":
        return nn.Sequential(nn.Conv2d(in_chans, width, 7, 4, 3), NORMS[norm](width))
    half = width // 2
    first = (nn.Conv2d(in_chans, half, 3, 2, 1), NORMS[norm](half), nn.Hardswish())
    return nn.Sequential(*first, nn.Conv2d(half, width, 3, 2, 1), NORMS[norm](width), nn.Hardswish())
