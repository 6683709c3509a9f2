"""Attentions that read pooled or chosen positions, as their papers print them; as benchmarks/plain_attention.py.

(mixer, tokens (B, H, W, C)) -> (B, H, W, C).
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.plain_attention import Formulation, in_heads, joined, softmax_attention


def over_keys(mixer: Any, x: Tensor, keys: Tensor) -> Tensor:
    """Softmax attention of the tokens over M given ones, (B, M, C)."""
    B, H, W, C = x.shape
    q = in_heads(mixer.q(x.view(B, H * W, C)), mixer.heads)
    k, v = (in_heads(stream, mixer.heads) for stream in mixer.kv(keys).chunk(2, dim=2))
    out: Tensor = mixer.proj(joined(softmax_attention(q, k, v, (C // mixer.heads) ** -0.5)).view(B, H, W, C))
    return out


def spatial_reduction(mixer: Any, x: Tensor) -> Tensor:
    """PVTv2's: keys from a strided convolution and a norm; without reduction from the tokens."""
    if not hasattr(mixer.pool, "conv"):
        return over_keys(mixer, x, x.flatten(1, 2))
    reduced = mixer.pool.conv(x.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
    return over_keys(mixer, x, mixer.pool.norm(reduced))


def averaged(mixer: Any, x: Tensor) -> Tensor:
    """PVTv2's linear form: keys from 7 x 7 means."""
    pooled = mixer.pool.conv(F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), 7)).flatten(2).transpose(1, 2)
    return over_keys(mixer, x, F.gelu(mixer.pool.norm(pooled)))


def raster(mixer: Any, x: Tensor) -> Tensor:
    """Next-ViT's: keys from means of consecutive tokens."""
    if not hasattr(mixer.pool, "norm"):
        return over_keys(mixer, x, x.flatten(1, 2))
    means = F.avg_pool1d(x.flatten(1, 2).transpose(1, 2), mixer.pool.count, mixer.pool.count)
    return over_keys(mixer, x, mixer.pool.norm(means).transpose(1, 2))


@cache
@torch.inference_mode(False)
def pooled_offsets(side: int, bins: int) -> tuple[Tensor, Tensor]:
    """The distinct offsets position - centre of a bin on a square map, (D, 2), and their numbers, (side^2, bins^2)."""
    index = torch.arange(bins)
    first = index * side // bins
    last = ((index + 1) * side + bins - 1) // bins - 1
    line = torch.arange(side)[:, None] - (first + last)[None, :] / 2
    rows = line[:, None, :, None].expand(side, side, bins, bins)
    columns = line[None, :, None, :].expand(side, side, bins, bins)
    pairs = torch.stack((rows, columns), dim=4).reshape(-1, 2)
    distinct, numbers = pairs.unique(dim=0, return_inverse=True)
    return distinct, numbers.view(side * side, bins * bins)


def continuous_bias(network: Any, side: int, bins: int) -> Tensor:
    """What the network makes of the logarithm of each distinct offset: (heads, side^2, bins^2)."""
    distinct, numbers = pooled_offsets(side, bins)
    u = 8 * distinct / max(1, network.rows - 1)
    spread = (u.sign() * torch.log2(u.abs() + 1) / 3).to(network.fc1.weight)
    biases: Tensor = network.fc2(F.relu(network.fc1(spread)))
    return biases[numbers].permute(2, 0, 1)


def aggregated(mixer: Any, x: Tensor) -> Tensor:
    """TransNeXt's: one softmax over the 3 x 3 neighbours and the pooled map; in its last stage over all positions."""
    B, H, W, C = x.shape
    tokens = x.view(B, H * W, C)
    bins = max(1, H // mixer.ratio)
    unit = F.normalize(in_heads(mixer.q(tokens), mixer.heads), dim=3)
    k, v = (in_heads(stream, mixer.heads) for stream in mixer.kv(tokens).chunk(2, dim=2))
    k = F.normalize(k, dim=3)
    q = (unit + mixer.query_embedding) * F.softplus(mixer.temperature)
    bias = continuous_bias(mixer.bias, H, bins)
    if mixer.pool is None:
        mixed = softmax_attention(q * math.log(H * W), k, v, 1.0, bias)
    else:
        pooled = F.adaptive_avg_pool2d(F.gelu(mixer.pool.conv(x.permute(0, 3, 1, 2))), bins)
        far = mixer.kv(mixer.pool.norm(pooled.flatten(2).transpose(1, 2)))
        mixed = near_and_far(mixer, unit, q, k, v, far, bias, H)
    out: Tensor = mixer.proj(joined(mixed).view(B, H, W, C))
    return out


def near_and_far(
    mixer: Any, unit: Tensor, q: Tensor, k: Tensor, v: Tensor, far: Tensor, bias: Tensor, side: int
) -> Tensor:
    """(B, heads, N, d) mixed over 9 neighbours and M pooled positions, whose keys and values are `far`, (B, M, 2 C)."""
    near = mixer.neighbours
    far_k, far_v = (in_heads(stream, mixer.heads) for stream in far.chunk(2, dim=2))
    inside = around(q.new_ones(1, 1, side * side, 1), side)[0, 0, :, :, 0]
    q = q * (inside.sum(dim=1) + far_k.shape[2]).log()[:, None]
    local = torch.einsum("bhnd,bhnmd->bhnm", q, around(k, side)) + near.bias_table[:, None]
    local = local.masked_fill(inside == 0, float("-inf"))
    pooled = torch.einsum("bhnd,bhmd->bhnm", q, F.normalize(far_k, dim=3)) + bias
    weights = torch.cat((local, pooled), dim=3).softmax(dim=3)
    learned = torch.einsum("bhnd,hdm->bhnm", unit, near.tokens) + near.token_bias
    near_sum = torch.einsum("bhnm,bhnmd->bhnd", weights[..., :9] + learned, around(v, side))
    return near_sum + torch.einsum("bhnm,bhmd->bhnd", weights[..., 9:], far_v)


def around(x: Tensor, side: int) -> Tensor:
    """The 3 x 3 neighbours of each position of a square map, zeros outside: (B, heads, N, d) -> (B, heads, N, 9, d)."""
    B, heads, N, d = x.shape
    columns = F.unfold(x.transpose(2, 3).reshape(B, heads * d, side, side), 3, padding=1)
    return columns.view(B, heads, d, 9, N).permute(0, 1, 4, 3, 2)


def routed(mixer: Any, x: Tensor) -> Tensor:
    """BiFormer's: S x S regions, each over the gathered positions of the regions that its mean resembles most."""
    B, H, W, C = x.shape
    q, k, v = mixer.qkv(x).chunk(3, dim=3)
    if not mixer.is_routed:
        q, k, v = (in_heads(stream.reshape(B, H * W, C), mixer.heads) for stream in (q, k, v))
        mixed = joined(softmax_attention(q, k, v, (C // mixer.heads) ** -0.5)).view(B, H, W, C)
        whole: Tensor = mixer.proj(mixed + mixer.local(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return whole
    S = mixer.regions
    local = mixer.local(v.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    q, k, v = (in_regions(stream, S) for stream in (q, k, v))
    affinity = q.detach().mean(dim=2) @ k.detach().mean(dim=2).transpose(1, 2)
    chosen = affinity.topk(mixer.topk, dim=2).indices
    image = torch.arange(B)[:, None, None]
    k, v = (stream[image, chosen].flatten(2, 3) for stream in (k, v))
    mixed = softmax_attention(*(in_heads(stream, mixer.heads) for stream in (q, k, v)), C**-0.5)
    mixed = joined(mixed).view(B, S, S, H // S, W // S, C).transpose(2, 3).reshape(B, H, W, C)
    out: Tensor = mixer.proj(mixed + local)
    return out


def in_regions(x: Tensor, regions: int) -> Tensor:
    """(B, H, W, C) -> (B, regions^2, positions, C)."""
    B, H, W, C = x.shape
    parts = x.reshape(B, regions, H // regions, regions, W // regions, C).transpose(2, 3)
    return parts.reshape(B, regions * regions, -1, C)


def slots(mixer: Any, x: Tensor) -> Tensor:
    """GLNet's GLMix, the tokens as the block's input: clustering, attention of the slots, dispatching; convolutions."""
    B, H, W, C = x.shape
    tokens = x.view(B, H * W, C)
    initial = F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), mixer.side).flatten(2).transpose(1, 2)
    cosines = torch.einsum("bmc,bnc->bmn", F.normalize(initial, dim=2), F.normalize(tokens, dim=2))
    logits = mixer.scale * cosines
    grouped = torch.einsum("bmn,bnc->bmc", logits.softmax(dim=2), tokens)
    attend = mixer.attend
    q, k, v = (in_heads(stream, attend.heads) for stream in attend.qkv(grouped).chunk(3, dim=2))
    grouped = attend.proj(joined(softmax_attention(q, k, v, attend.head_dim**-0.5)))
    spread = torch.einsum("bmn,bmc->bnc", logits.softmax(dim=1), grouped)
    local = mixer.proj(mixer.conv(mixer.proj_in(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    out: Tensor = spread.view(B, H, W, C) + local
    return out


PRINTED_POOLED: Mapping[str, Formulation] = {
    "pooled": spatial_reduction,
    "pooled:averaged": averaged,
    "pooled:raster": raster,
    "aggregated": aggregated,
    "bra": routed,
    "glmix": slots,
}
"""Mixer, or mixer:form -> its formulation."""
