"""Residual blocks, made from a spec. Maps are (B, C, H, W) between blocks."""

from typing import Any, Final

import torch
from timm.layers.drop import DropPath
from torch import nn

from search_spaces.network.layers.conv_position import ConvPosition
from search_spaces.network.layers.norms import TOKEN_NORMS
from search_spaces.network.layers.rep_position import RepPosition
from search_spaces.network.parts import find_part


class BranchScale(nn.Module):
    """A learned factor per channel: (B, H, W, C) -> (B, H, W, C). Source: CaiT (arXiv 2103.17239)."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(start * torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gamma


def make_scale(width: int, block: dict[str, Any]) -> nn.Module:
    """The factor of a residual branch of the spec; nothing where it has none."""
    start = block.get("branch_scale", 0.0)
    return BranchScale(width, start) if start else nn.Identity()


def make_norm(width: int, block: dict[str, Any]) -> nn.Module:
    """The norm of tokens, (B, H, W, C), that stands before the branches of the spec."""
    return TOKEN_NORMS[block.get("norm") or "layer"](width)


class ConvBlock(nn.Module):
    """x + branch(x) with a convolution mixer as the branch, then a feed-forward where the spec has one."""

    def __init__(self, width: int, block: dict[str, Any], drop_path: float) -> None:
        super().__init__()
        self.mixer = find_part("mixers", block["conv"])(width, block)
        self.scale1 = make_scale(width, block)
        self.ffn = make_ffn(width, block)
        self.norm2 = make_norm(width, block) if self.ffn is not None else None
        self.scale2 = make_scale(width, block) if self.ffn is not None else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = self.scale1(self.mixer(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        out: torch.Tensor = x + self.drop_path(mixed)
        if self.ffn is not None and self.norm2 is not None:
            fed = self.scale2(self.ffn(self.norm2(out.permute(0, 2, 3, 1))))
            out = out + self.drop_path(fed.permute(0, 3, 1, 2))
        return out


class AttentionBlock(nn.Module):
    """Position term, pre-norm attention, then pre-norm feed-forward where the spec has one.

    fused_parallel: a convolution reads the same normalised input, and its output is added to that of the attention. An
    attention whose class says `reads_input = True` takes the block's input, (B, H, W, C), as a second argument.
    """

    reads_input: Final[bool]

    def __init__(self, width: int, block: dict[str, Any], drop_path: float) -> None:
        super().__init__()
        attention = find_part("mixers", block["attention"])
        self.reads_input = getattr(attention, "reads_input", False)
        self.position = make_position(width, block)
        self.norm1 = make_norm(width, block)
        self.mixer = attention(width, block)
        self.conv = find_part("mixers", block["conv"])(width, block) if block["kind"] == "fused_parallel" else None
        self.scale1 = make_scale(width, block)
        self.ffn = make_ffn(width, block)
        self.norm2 = make_norm(width, block) if self.ffn is not None else None
        self.scale2 = make_scale(width, block) if self.ffn is not None else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = x.permute(0, 2, 3, 1)
        x = self.position(x).permute(0, 2, 3, 1)
        normed = self.norm1(x)
        mixed = self.mixer(normed, given) if self.reads_input else self.mixer(normed)
        if self.conv is not None:
            mixed = mixed + self.conv(normed.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.drop_path(self.scale1(mixed))
        if self.ffn is not None and self.norm2 is not None:
            x = x + self.drop_path(self.scale2(self.ffn(self.norm2(x))))
        return x.permute(0, 3, 1, 2)


class FeedForwardBlock(nn.Module):
    """Position term, then x + feed-forward(norm(x)); (B, C, H, W) to itself."""

    def __init__(self, width: int, block: dict[str, Any], drop_path: float) -> None:
        super().__init__()
        self.position = make_position(width, block)
        self.norm2 = make_norm(width, block)
        self.ffn = find_part("ffns", block["ffn"])(width, block)
        self.scale2 = make_scale(width, block)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.position(x).permute(0, 2, 3, 1)
        x = x + self.drop_path(self.scale2(self.ffn(self.norm2(x))))
        return x.permute(0, 3, 1, 2)


def make_position(width: int, block: dict[str, Any]) -> nn.Module:
    """The convolution that tells a block of the spec where its positions are; nothing where it has none."""
    if block["position"] == "rep":
        return RepPosition(width)
    return ConvPosition(width) if block["position"] == "cpe" else nn.Identity()


def make_ffn(width: int, block: dict[str, Any]) -> nn.Module | None:
    """The feed-forward of a spec, tokens to tokens without norm and residual; None where it has none."""
    if block["ffn"] == "none":
        return None
    ffn: nn.Module = find_part("ffns", block["ffn"])(width, block)
    return ffn


def make_block(width: int, block: dict[str, Any], drop_path: float) -> nn.Module:
    """The block of a spec; fused_serial is a convolution block and an attention block in one."""
    if block["kind"] == "conv":
        return ConvBlock(width, block, drop_path)
    if block["kind"] == "ffn":
        return FeedForwardBlock(width, block, drop_path)
    if block["kind"] == "fused_serial":
        return nn.Sequential(
            ConvBlock(width, {**block, "ffn": "none"}, drop_path), AttentionBlock(width, block, drop_path)
        )
    return AttentionBlock(width, block, drop_path)
