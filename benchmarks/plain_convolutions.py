"""Mixers that convolve, as their papers print them, with the parameters of ours; as benchmarks/plain_attention.py.

(mixer, tokens (B, H, W, C)) -> (B, H, W, C). Those of benchmarks/plain_dynamic.py stand there.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.plain_attention import Formulation, in_heads, joined, softmax_attention, square_offsets


def recursive_gates(mixer: Any, x: Tensor) -> Tensor:
    """HorNet's recursion p_k+1 = f_k(q_k) g_k(p_k) / alpha: f_k depthwise, g_0 the identity, the other g_k linear."""
    first, *_ = mixer.widths
    p, *gates = mixer.proj_in(x).split([first, *mixer.widths], dim=3)
    weights = mixer.filter.weight.split(mixer.widths)
    biases = mixer.filter.bias.split(mixer.widths)
    lifts = (torch.nn.Identity(), *mixer.lifts)
    for q, weight, bias, lift in zip(gates, weights, biases, lifts, strict=True):
        filtered = F.conv2d(q.permute(0, 3, 1, 2), weight, bias, padding=3, groups=len(weight)).permute(0, 2, 3, 1)
        p = filtered * lift(p) * mixer.scale
    out: Tensor = mixer.proj(p)
    return out


def large_and_small(mixer: Any, x: Tensor) -> Tensor:
    """LSNet's: the unfolded 3 x 3 neighbours of every position times what the large kernel says."""
    x = x.permute(0, 3, 1, 2)
    B, C, H, W = x.shape
    shared = C // mixer.groups
    weights = mixer.weigh(x).view(B, shared, 9, H, W)
    windows = F.unfold(x, 3, padding=1).view(B, mixer.groups, shared, 9, H, W)
    mixed = torch.einsum("bgcthw,bcthw->bgchw", windows, weights).reshape(B, C, H, W)
    out: Tensor = mixer.norm(mixed).permute(0, 2, 3, 1)
    return out


def inception(mixer: Any, x: Tensor) -> Tensor:
    """iFormer's: convolution and maximum of the first channels, pooled attention of the others; then one of all."""
    x = x.permute(0, 3, 1, 2)
    high = mixer.high
    convolved, largest, low = x.tensor_split((mixer.high_width // 2, mixer.high_width), dim=1)
    convolved = F.gelu(high.conv(high.expand(convolved)))
    largest = F.gelu(high.proj(F.max_pool2d(largest, 3, 1, 1)))
    pool = mixer.low.pool
    cells = F.avg_pool2d(low, pool) if pool > 1 else low
    streams = mixer.low.qkv(cells.flatten(2).transpose(1, 2)).chunk(3, dim=2)
    q, k, v = (in_heads(stream, mixer.low.heads) for stream in streams)
    mixed = joined(softmax_attention(q, k, v, q.shape[3] ** -0.5)).transpose(1, 2).reshape(cells.shape)
    low = F.interpolate(mixed, scale_factor=pool, mode="nearest") if pool > 1 else mixed
    everything = torch.cat((convolved, largest, low), dim=1)
    out: Tensor = mixer.proj(everything + mixer.fuse(everything)).permute(0, 2, 3, 1)
    return out


def partial_attention(mixer: Any, x: Tensor) -> Tensor:
    """PartialNet's: a dense convolution of a quarter of the channels, a gate or attention for the others."""
    convolved, rest = x.tensor_split((mixer.convolved,), dim=3)
    convolved = mixer.conv(convolved.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    is_gate = hasattr(mixer.attention, "weigh")
    mixed = channel_gate(mixer.attention, rest) if is_gate else euclidean_attention(mixer.attention, rest)
    return torch.cat((convolved, mixed), dim=3)


def channel_gate(gate: Any, x: Tensor) -> Tensor:
    """BN(x hardsigmoid(BN(W [mean, standard deviation])))."""
    statistics = torch.stack((x.mean(dim=(1, 2)), x.std(dim=(1, 2))), dim=2).flatten(1)
    weights = F.hardsigmoid(gate.norm_gate(gate.weigh(statistics)))
    out: Tensor = gate.norm((x * weights[:, None, None]).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return out


@cache
@torch.inference_mode(False)
def distances(side: int) -> Tensor:
    """The bucket of each pair of a square map: its rounded distance up to 20, which no map here reaches."""
    return square_offsets(side).square().sum(dim=2).sqrt().round().long()


def euclidean_attention(attention: Any, x: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d) + a learned bias of the distance) V of the normalised tokens."""
    B, H, W, C = x.shape
    streams = attention.qkv(attention.norm(x).view(B, H * W, C)).chunk(3, dim=2)
    q, k, v = (in_heads(stream, attention.heads) for stream in streams)
    bias = attention.bias.bias_table.t()[40 + distances(H)].permute(2, 0, 1)
    mixed = joined(softmax_attention(q, k, v, q.shape[3] ** -0.5, bias))
    out: Tensor = attention.proj(mixed.view(B, H, W, C))
    return out


PRINTED_CONVOLUTIONS: Mapping[str, Formulation] = {
    "gnconv": recursive_gates,
    "lsconv": large_and_small,
    "inception": inception,
    "pat": partial_attention,
}
"""Mixer -> its formulation."""
