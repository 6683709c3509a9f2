"""GroupMixFormer as its paper and tables print it, with the published parameter names, and nothing in common with search_spaces/.

Plain on purpose: tokens and maps are converted back and forth, Q, K and V are stacked on the batch axis, products are einsums.
"""

import torch
from torch import nn

HEADS = 8


class Separable(nn.Module):
    def __init__(self, width: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width, bias=False)
        self.pointwise_conv = nn.Conv2d(width, out, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pointwise_conv(self.conv1(x))


class ConvStem(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj1, self.norm1 = nn.Conv2d(3, width // 2, 3, 2, 1), nn.BatchNorm2d(width // 2)
        self.proj2, self.norm2 = nn.Conv2d(width // 2, width, 3, 2, 1), nn.BatchNorm2d(width)
        self.act = nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm2(self.proj2(self.act(self.norm1(self.proj1(x))))))


class PatchEmbed(nn.Module):
    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.proj, self.norm, self.act = Separable(width, out, 3, stride), nn.BatchNorm2d(out), nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.proj(x)))


class NonAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm, self.act = Separable(3 * width, width, 3), nn.LayerNorm(width), nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.conv(x).flatten(2).transpose(1, 2)))


class Aggregator(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.segment = width // 5
        for number in range(4):
            setattr(self, f"norm{number}", nn.BatchNorm2d(self.segment))
        self.agg1, self.agg2, self.agg3 = (Separable(self.segment, self.segment, kernel) for kernel in (3, 5, 7))
        self.agg0 = NonAttention(self.segment)
        self.act = nn.Hardswish()

    def forward(self, qkv: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(3B, N, C) -> Q, K, V of the attended segments (3, B, heads, N, d) and the fifth segment (B, N, C / 5)."""
        count, tokens, width = qkv.shape
        segments = qkv.transpose(1, 2).reshape(count, width, *size).split(self.segment, dim=1)
        mixed = [self.act(self.norm0(segments[0]))]
        for number, aggregate in ((1, self.agg1), (2, self.agg2), (3, self.agg3)):
            mixed.append(self.act(getattr(self, f"norm{number}")(aggregate(segments[number]))))
        batch, attended = count // 3, 4 * self.segment
        heads = torch.cat(mixed, dim=1).reshape(3, batch, attended, tokens).reshape(3, batch, HEADS, attended // HEADS, tokens)
        fifth = torch.cat(segments[4].split(batch), dim=1)
        return heads.transpose(3, 4), self.agg0(fifth)


class RelativeEncoding(nn.Module):
    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.shares = [heads * head_dim for heads in (2, 3, 3)]
        self.conv_list = nn.ModuleList(
            nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width) for width, kernel in zip(self.shares, (3, 5, 7), strict=True)
        )

    def forward(self, q: torch.Tensor, v: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        batch, heads, tokens, head_dim = v.shape
        image = v.transpose(2, 3).reshape(batch, heads * head_dim, *size)
        encoded = torch.cat([conv(part) for conv, part in zip(self.conv_list, image.split(self.shares, dim=1), strict=True)], dim=1)
        return q * encoded.reshape(batch, heads, head_dim, tokens).transpose(2, 3)


class GroupMixAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.aggregator, self.crpe = Aggregator(width), RelativeEncoding(width // 10)
        self.scale = (width // HEADS) ** -0.5

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, width).permute(2, 0, 1, 3).reshape(3 * batch, tokens, width)
        (q, k, v), fifth = self.aggregator(qkv, size)
        context = torch.einsum("bhnk,bhnv->bhkv", k.softmax(dim=2), v)
        attended = self.scale * torch.einsum("bhnk,bhkv->bhnv", q, context) + self.crpe(q, v, size)
        joined = attended.transpose(1, 2).reshape(batch, tokens, -1)
        return self.proj(torch.cat([joined, fifth], dim=2))


class Block(nn.Module):
    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.cpe = nn.ModuleDict({"proj": nn.Conv2d(width, width, 3, padding=1, groups=width)})
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.att = GroupMixAttention(width)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, ratio * width), "fc2": nn.Linear(ratio * width, width)})

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        image = x.transpose(1, 2).reshape(x.shape[0], x.shape[2], *size)
        x = x + self.cpe["proj"](image).flatten(2).transpose(1, 2)
        x = x + self.att(self.norm1(x), size)
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
            PatchEmbed(width, out, 1 if index == 0 else 2) for index, (width, out) in enumerate(zip(before, widths, strict=True))
        )
        self.groupmixformer_backbone = nn.ModuleList(Stage(*sizes) for sizes in zip(widths, depths, ratios, strict=True))
        self.norm4, self.head = nn.BatchNorm2d(widths[-1]), nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_stem(x)
        for embed, stage in zip(self.patch_embed_layers, self.groupmixformer_backbone, strict=True):
            x = stage(embed(x))
        return self.head(self.norm4(x).mean(dim=(2, 3)))
