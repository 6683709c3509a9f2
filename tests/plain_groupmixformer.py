"""GroupMixFormer as its paper and tables print it, with the published parameter names, and nothing in common with
search_spaces/.

Plain on purpose: tokens and maps are converted back and forth. The attention is that of benchmarks/plain_mixers.py.
"""

import torch
from torch import nn

from benchmarks.plain_mixers import PlainGroupMix, PlainSeparableConv


class ConvStem(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj1 = nn.Conv2d(3, width // 2, 3, 2, 1)
        self.norm1 = nn.BatchNorm2d(width // 2)
        self.proj2 = nn.Conv2d(width // 2, width, 3, 2, 1)
        self.norm2 = nn.BatchNorm2d(width)
        self.act = nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm2(self.proj2(self.act(self.norm1(self.proj1(x))))))


class PatchEmbed(nn.Module):
    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.proj = PlainSeparableConv(width, out, 3)
        self.norm = nn.BatchNorm2d(out)
        self.act = nn.Hardswish()
        self.proj.conv1.stride = (stride, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.proj(x)))


class Block(nn.Module):
    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.cpe = nn.ModuleDict({"proj": nn.Conv2d(width, width, 3, padding=1, groups=width)})
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.att = PlainGroupMix(width)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, ratio * width), "fc2": nn.Linear(ratio * width, width)})

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        image = x.transpose(1, 2).reshape(x.shape[0], x.shape[2], *size)
        x = x + self.cpe["proj"](image).flatten(2).transpose(1, 2)
        x = x + self.att(self.norm1(x).view(x.shape[0], *size, -1)).flatten(1, 2)
        return x + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(x))))


class Stage(nn.Module):
    def __init__(self, width: int, depth: int, ratio: int) -> None:
        super().__init__()
        self.gma_stage = nn.ModuleList(Block(width, ratio) for _ in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = (x.shape[2], x.shape[3])
        tokens = x.flatten(2).transpose(1, 2)
        for block in self.gma_stage:
            tokens = block(tokens, size)
        return tokens.transpose(1, 2).reshape(x.shape)


class PlainGroupMixFormer(nn.Module):
    """(B, 3, H, W) -> (B, classes)."""

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...], ratios: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.conv_stem = ConvStem(widths[0])
        before = (widths[0], *widths[:-1])
        self.patch_embed_layers = nn.ModuleList(
            PatchEmbed(width, out, 1 if index == 0 else 2)
            for index, (width, out) in enumerate(zip(before, widths, strict=True))
        )
        self.groupmixformer_backbone = nn.ModuleList(
            Stage(*sizes) for sizes in zip(widths, depths, ratios, strict=True)
        )
        self.norm4 = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_stem(x)
        for embed, stage in zip(self.patch_embed_layers, self.groupmixformer_backbone, strict=True):
            x = stage(embed(x))
        return self.head(self.norm4(x).mean(dim=(2, 3)))
