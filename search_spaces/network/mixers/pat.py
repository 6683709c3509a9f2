"""Partial attention: a convolution on a part of the channels, attention on the others."""

import math
from typing import Any

import torch
from timm.layers.norm import LayerNorm
from timm.models import register_notrace_module
from torch import nn

from search_spaces.network.layers.attend import attend
from search_spaces.network.layers.norms import VectorBatchNorm
from search_spaces.network.layers.positions import of_pairs
from search_spaces.network.parts import part


@part("mixers", "pat")
class PartialAttention(nn.Module):
    """y = [conv_3(x1), attention(x2)]; x1 is the first 1 / `division` of the channels, conv_3 dense without bias.

    (B, H, W, C) -> (B, H, W, C).

    Knobs: `form`, what x2 goes through: `channel` is ChannelGate, linear in N = H * W; `self` is EuclideanAttention,
    with `heads` heads. `division`.

    Source: PartialNet, also PATNet (arXiv 2502.01303).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.convolved = width // int(options.get("division", 4))
        self.conv = nn.Conv2d(self.convolved, self.convolved, 3, padding=1, bias=False)
        rest = width - self.convolved
        is_self = options.get("form") == "self"
        self.attention = EuclideanAttention(rest, int(options.get("heads", 4))) if is_self else ChannelGate(rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        near = self.conv(x[..., : self.convolved].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return torch.cat((near, self.attention(x[..., self.convolved :])), dim=3)


@register_notrace_module
class ChannelGate(nn.Module):
    """BN(x * hardsigmoid(BN(W [mean, standard deviation]))): statistics over positions, per channel; W without bias.

    (B, H, W, C) -> (B, H, W, C). 2 C^2 + 4 C parameters.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(2 * width, width, bias=False)
        self.norm_gate = VectorBatchNorm(width)
        self.act = nn.Hardsigmoid()
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(dim=(1, 2), keepdim=True)
        square = (x - mean).square().sum(dim=(1, 2)) / max(x.shape[1] * x.shape[2] - 1, 1)
        # The root of zero has no gradient: of a map of one position, for example.
        deviation = square.clamp(min=1e-12).sqrt()
        statistics = torch.stack((mean.flatten(1), deviation), dim=2).flatten(1)
        gate = self.act(self.norm_gate(self.weigh(statistics)))
        out: torch.Tensor = self.norm((x * gate[:, None, None]).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out


class EuclideanAttention(nn.Module):
    """Full attention of LN(x) with a learned bias per head and distance; then a linear layer. Q, K, V have no bias.

    (B, H, W, C) -> (B, H, W, C). 4 C^2 + 3 C parameters and 81 per head.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.bias = DistanceBias(heads)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        q, k, v = self.qkv(self.norm(x)).view(B, H * W, 3, self.heads, C // self.heads).unbind(2)
        out: torch.Tensor = self.proj(attend(q, k, v, self.bias(H, W)).view(B, H, W, C))
        return out


@register_notrace_module
class DistanceBias(nn.Module):
    """A learned bias per head and distance between two positions: (H, W) -> (1, heads, H W, H W).

    Distances are rounded; from 20 on they share buckets, evenly in their logarithm, up to 160. The table holds buckets
    of both signs, as published, and reads those from 0 on. Source: iRPE (arXiv 2107.14222), its Euclidean form.
    """

    undecayed = ("bias_table",)

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.largest = 40
        self.bias_table = nn.Parameter(torch.zeros(heads, 2 * self.largest + 1))

    def forward(self, height: int, width: int) -> torch.Tensor:
        table: torch.Tensor = self.bias_table
        y = torch.arange(1 - height, height, device=table.device)
        x = torch.arange(1 - width, width, device=table.device)
        buckets = distance_buckets(y[:, None].square() + x[None, :].square(), self.largest)
        return of_pairs(table[:, self.largest + buckets].flatten(1), height, width)


def distance_buckets(square: torch.Tensor, largest: int, fine: int = 20, farthest: int = 160) -> torch.Tensor:
    """Squared distances of any shape -> their buckets, from 0 to `largest`.

    Args:
        fine: distances up to this have a bucket of their own.
        farthest: distance from which on all share the largest bucket.
    """
    distance = square.float().sqrt().round()
    share = (distance.clamp(min=1) / fine).log() / math.log(farthest / fine)
    far = (fine + share * (largest - fine)).round().clamp(max=largest)
    return torch.where(distance <= fine, distance, far).long()
