"""Attentions as their papers print them, with the parameters of ours: (mixer, tokens (B, H, W, C)) -> (B, H, W, C).

Nothing here is made fast. Of our modules only layers of torch are called, and no step of search_spaces/network/mixers.
What a published module keeps in a buffer, such as the number of each pair's offset, is kept here too. Maps are those
that the published modules take: squares whose sides the parts divide.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Formulation = Callable[[Any, Tensor], Tensor]


def in_heads(x: Tensor, heads: int) -> Tensor:
    """(..., N, C) -> (..., heads, N, C / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def joined(x: Tensor) -> Tensor:
    """(..., heads, N, d) -> (..., N, heads * d)."""
    return x.transpose(-3, -2).flatten(-2)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T scale + bias) v with its table of all pairs: (..., N, d), twice (..., M, d) -> (..., N, d)."""
    logits = torch.einsum("...nd,...md->...nm", q, k) * scale
    if bias is not None:
        logits = logits + bias
    return torch.einsum("...nm,...md->...nd", logits.softmax(dim=-1), v)


def axis_offsets(queries: int, keys: int) -> Tensor:
    """Key - query of each pair of numbers on an axis: (queries, keys)."""
    return torch.arange(keys)[None, :] - torch.arange(queries)[:, None]


@cache
@torch.inference_mode(False)
def square_offsets(side: int) -> Tensor:
    """(rows, columns) of key - query of each pair of a square: (side^2, side^2, 2)."""
    line = axis_offsets(side, side)
    rows = line[:, None, :, None].expand(side, side, side, side)
    columns = line[None, :, None, :].expand(side, side, side, side)
    return torch.stack((rows, columns), dim=4).view(side * side, side * side, 2)


def entries(table: Tensor, places: Tensor) -> Tensor:
    """Entries of a table (heads, rows, columns) at places (n, m, 2), looked up as rows of heads: (heads, n, m)."""
    numbers = places[..., 0] * table.shape[2] + places[..., 1]
    return table.flatten(1).t()[numbers].permute(2, 0, 1)


def table_bias(table: Tensor, side: int) -> Tensor:
    """Entries at key - query of a table (heads, 2 side - 1, 2 side - 1): (heads, side^2, side^2)."""
    return entries(table, square_offsets(side) + side - 1)


def dynamic_bias(network: Any, side: int) -> Tensor:
    """What the network makes of query - key, once for every offset: (heads, side^2, side^2)."""
    line = torch.arange(1 - side, side).to(network.proj.weight)
    offsets = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=2)
    return table_bias(network.layers(network.proj(offsets)).permute(2, 0, 1).flip(1, 2), side)


def in_group(mixer: Any, groups: Tensor, side: int) -> Tensor:
    """Attention within each group: (..., side^2, C) -> (..., side^2, C)."""
    q, k, v = (in_heads(stream, mixer.heads) for stream in mixer.qkv(groups).chunk(3, dim=-1))
    is_dynamic = hasattr(mixer.bias, "layers")
    bias = dynamic_bias(mixer.bias, side) if is_dynamic else table_bias(mixer.bias.bias_table, side)
    out: Tensor = mixer.proj(joined(softmax_attention(q, k, v, mixer.head_dim**-0.5, bias)))
    return out


def window(mixer: Any, x: Tensor) -> Tensor:
    """MaxViT's blocks: (H / P, P, W / P, P, C) -> (H W / P^2, P^2, C), attention, and back."""
    B, H, W, C = x.shape
    P = mixer.rows
    blocks = x.view(B, H // P, P, W // P, P, C).transpose(2, 3)
    mixed = in_group(mixer, blocks.reshape(B, -1, P * P, C), P)
    return mixed.view(blocks.shape).transpose(2, 3).reshape(B, H, W, C)


def grid(mixer: Any, x: Tensor) -> Tensor:
    """MaxViT's grid: (G, H / G, G, W / G, C) -> (H W / G^2, G^2, C), attention, and back."""
    B, H, W, C = x.shape
    G = mixer.rows
    cells = x.view(B, G, H // G, G, W // G, C).permute(0, 2, 4, 1, 3, 5)
    mixed = in_group(mixer, cells.reshape(B, -1, G * G, C), G)
    return mixed.view(cells.shape).permute(0, 3, 1, 4, 2, 5).reshape(B, H, W, C)


def long_distance(mixer: Any, x: Tensor) -> Tensor:
    """CrossFormer's: in each region of G I x G I positions those that stand I apart."""
    B, H, W, C = x.shape
    G = mixer.rows
    step = mixer.interval or 1
    regions = x.view(B, H // (G * step), G, step, W // (G * step), G, step, C).permute(0, 1, 4, 3, 6, 2, 5, 7)
    mixed = in_group(mixer, regions.reshape(B, -1, G * G, C), G)
    return mixed.view(regions.shape).permute(0, 1, 5, 3, 2, 6, 4, 7).reshape(B, H, W, C)


def halo(mixer: Any, x: Tensor) -> Tensor:
    """softmax(q k / sqrt(d) + q r) v of each block over the unfolded positions around it, r of every pair's offset."""
    B, H, W, _ = x.shape
    b = mixer.block
    w = mixer.reach
    blocks = mixer.q(x).view(B, H // b, b, W // b, b, -1).transpose(2, 3).reshape(B, -1, b * b, x.shape[3])
    q = in_heads(blocks, mixer.heads)
    around = F.unfold(mixer.kv(x).permute(0, 3, 1, 2), w, padding=mixer.halo, stride=b)
    around = around.view(B, mixer.heads, -1, w * w, q.shape[1]).permute(0, 4, 1, 3, 2)
    k, v = around.split([mixer.query_dim, mixer.value_dim], dim=4)
    line = axis_offsets(b, w) + w - 1
    rows = mixer.row_table[line][:, None, :, None]
    columns = mixer.column_table[line][None, :, None, :]
    relative = (rows + columns).view(b * b, w * w, mixer.query_dim)
    bias = torch.einsum("bghnd,nmd->bghnm", q, relative)
    mixed = joined(softmax_attention(q, k, v, mixer.query_dim**-0.5, bias))
    out: Tensor = mixer.proj(mixed.view(B, H // b, W // b, b, b, -1).transpose(2, 3).reshape(B, H, W, -1))
    return out


@cache
@torch.inference_mode(False)
def neighbours(side: int, kernel: int) -> tuple[Tensor, Tensor]:
    """What each position of a square map sees: places, (N, kernel^2), and key - query, (N, kernel^2, 2)."""
    line = torch.arange(side)
    seen = (line - kernel // 2).clamp(min=0, max=side - kernel)[:, None] + torch.arange(kernel)
    rows = seen[:, None, :, None].expand(side, side, kernel, kernel)
    columns = seen[None, :, None, :].expand(side, side, kernel, kernel)
    offsets = torch.stack((rows - line[:, None, None, None], columns - line[None, :, None, None]), dim=4)
    return (rows * side + columns).reshape(side * side, -1), offsets.view(side * side, -1, 2)


def neighbourhood(mixer: Any, x: Tensor) -> Tensor:
    """The keys and values that a position sees are gathered for each."""
    B, H, W, C = x.shape
    places, offsets = neighbours(H, mixer.kernel)
    q, k, v = (in_heads(stream.reshape(B, H * W, C), mixer.heads) for stream in mixer.qkv(x).chunk(3, dim=3))
    bias = entries(mixer.bias_table, offsets + mixer.kernel - 1)
    logits = torch.einsum("bhnd,bhnmd->bhnm", q, k[:, :, places]) * mixer.head_dim**-0.5 + bias
    mixed = torch.einsum("bhnm,bhnmd->bhnd", logits.softmax(dim=3), v[:, :, places])
    out: Tensor = mixer.proj(joined(mixed).view(B, H, W, C))
    return out


def inline(mixer: Any, x: Tensor) -> Tensor:
    """Q (K^T V) / (N sqrt(d)) + (1 - Q mean(K) / sqrt(d)) mean(V), and the predicted convolution of V."""
    B, H, W, C = x.shape
    scale = (C // mixer.heads) ** -0.5
    q, k, v = (in_heads(stream.reshape(B, H * W, C), mixer.heads) for stream in mixer.qkv(x).chunk(3, dim=3))
    context = torch.einsum("bhnd,bhne->bhde", k, v)
    products = torch.einsum("bhnd,bhde->bhne", q, context) * (scale / (H * W))
    affinity = torch.einsum("bhnd,bhd->bhn", q, k.mean(dim=2)) * scale
    mixed = products + (1 - affinity)[..., None] * v.mean(dim=2, keepdim=True)
    kernels = mixer.kernels(x.mean(dim=(1, 2))[:, :, None]).view(B * C, 1, 3, 3)
    values = joined(v).transpose(1, 2).reshape(1, B * C, H, W)
    local = F.conv2d(values, kernels, padding=1, groups=B * C).view(B, C, H, W).permute(0, 2, 3, 1)
    out: Tensor = mixer.proj(joined(mixed).view(B, H, W, C) + local)
    return out


@cache
@torch.inference_mode(False)
def pair_features(side: int) -> Tensor:
    """(dx, dy, dx^2 + dy^2) of key - query of each pair of a square map: (side^2, side^2, 3)."""
    offsets = square_offsets(side).float()
    return torch.stack((offsets[..., 1], offsets[..., 0], offsets.square().sum(dim=2)), dim=2)


def gated(mixer: Any, x: Tensor) -> Tensor:
    """ConViT's: A = (1 - g) softmax(Q K^T) + g softmax(W r), rows divided by their sums; A V."""
    B, H, W, C = x.shape
    q, k, v = (in_heads(stream.reshape(B, H * W, C), mixer.heads) for stream in mixer.qkv(x).chunk(3, dim=3))
    content = (torch.einsum("bhnd,bhmd->bhnm", q, k) * mixer.head_dim**-0.5).softmax(dim=3)
    position = F.linear(pair_features(H).to(x), mixer.gate.weight, mixer.gate.bias).permute(2, 0, 1).softmax(dim=2)
    gate = mixer.gate.gating.sigmoid().view(1, -1, 1, 1)
    weights = (1 - gate) * content + gate * position
    weights = weights / weights.sum(dim=3, keepdim=True)
    out: Tensor = mixer.proj(joined(torch.einsum("bhnm,bhmd->bhnd", weights, v)).view(B, H, W, C))
    return out


PRINTED_ATTENTION: Mapping[str, Formulation] = {
    "window": window,
    "grid": grid,
    "grid:dynamic": long_distance,
    "halo": halo,
    "neighbourhood": neighbourhood,
    "inline": inline,
    "full:gated": gated,
}
"""Mixer, or mixer:form -> its formulation."""
