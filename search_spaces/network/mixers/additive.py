"""Additive attention: queries and keys weigh themselves, are added, and gate the values."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.parts import part


@part("mixers", "additive")
class AdditiveAttention(nn.Module):
    """y = DW_3(DW_3(phi_q(Q) + phi_k(K)) * V) with Q, K, V = PW x without bias; phi is SelfGate.

    (B, H, W, C) -> (B, H, W, C). 5 C^2 + 46 C parameters, linear in N = H * W: no pair of positions is compared. The
    last convolution is the projection, so channels do not mix behind the values.

    Source: CAS-ViT (arXiv 2408.03703).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.gate_q = SelfGate(width)
        self.gate_k = SelfGate(width)
        self.mix = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.proj = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x.permute(0, 3, 1, 2)).chunk(3, dim=1)
        mixed = self.mix(self.gate_q(q) + self.gate_k(k)) * v
        out: torch.Tensor = self.proj(mixed).permute(0, 2, 3, 1)
        return out


class SelfGate(nn.Module):
    """t weighed by position, then by channel: t1 = t * sigmoid(PW_1(ReLU(BN(DW_3 t)))), t1 * sigmoid(PW(mean t1)).

    (B, C, H, W) -> (B, C, H, W); PW_1 leaves one channel, neither PW has a bias.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.local = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.position = nn.Conv2d(width, 1, 1, bias=False)
        self.channel = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * self.position(self.norm(self.local(x)).relu()).sigmoid()
        out: torch.Tensor = x * self.channel(x.mean(dim=(2, 3), keepdim=True)).sigmoid()
        return out
