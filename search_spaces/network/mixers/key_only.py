"""Key-only attention: positions are weighted by a saliency gate on their keys; queries do not exist."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.network.parts import part


@part("mixers", "key_only")
class KeyOnlyAttention(nn.Module):
    """K = X W_k, V = X W_v; gate e from K, weights a = softmax_N(e), context c = sum_n a_n V_n, Y_n = sigmoid(K_n) * c;
    out = Y W_o.

    (B, H, W, C) -> (B, H, W, C). O(N C^2) for N = H * W positions: no pair of positions is ever compared, so no N x N
    tensor exists.

    Knobs of the block's spec (`options`; the first value holds where none is named, which is how architectures were
    recorded before there were knobs; searches use the values that measured best, `searched` in kinds/):

    - gate: `head`, one weight per position and head, e = K_head . g / sqrt(head_dim); `channel`, one per channel, e = K
      * g.
    - source of the gate: `linear`, the learned vector g; `bottleneck`, two linear layers on K with max(8, C / 8)
      channels between.
    - normaliser over positions: `softmax`; `sigmoid`, sigmoid(e + b) / N; `l2`, e / |e|_2.
    - combine: `sigmoid_key`, `relu_key` or `key`, phi(K_n) * c; `value`, V_n * c; `add`, V_n + c.
    - projection: `linear`, the layer W_o; `none`.

    Source: LinGlo (arXiv 2207.00188) publishes the idea: attention weights from a cheap saliency gate on the keys, no
    query-key products, local-global interaction, linear cost. Its formulas could not be read; gate, normaliser and
    combination are our reconstruction, and so are the knobs, after the relatives that each comes from: channel gates
    AFT-simple (2105.14103), the bottleneck SE and GCNet (1904.11492), l2 SwiftFormer (2303.15446), relu_key MobileViTv2
    (2206.02680).
    """

    undecayed = ("gate", "bias")

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.heads = block["heads"]
        self.head_dim = block["head_dim"]
        self.normaliser: str = options.get("normaliser", "softmax")
        self.combine: str = options.get("combine", "sigmoid_key")
        per_channel = options.get("gate") == "channel"
        self.gate_dim: int = self.head_dim if per_channel else 1
        self.kv = nn.Linear(width, 2 * width)
        # Per channel the keys themselves are the gate at first, as in AFT-simple.
        start = (
            torch.ones(self.heads, 1, self.head_dim)
            if per_channel
            else torch.randn(self.heads, self.head_dim, 1) * 0.02
        )
        is_linear = options.get("source") != "bottleneck"
        self.gate = nn.Parameter(start) if is_linear else None
        self.bottleneck = None if is_linear else SaliencyBottleneck(width, self.heads, self.gate_dim)
        self.bias = nn.Parameter(torch.zeros(self.heads, 1, self.gate_dim)) if self.normaliser == "sigmoid" else None
        self.proj = nn.Identity() if options.get("projection") == "none" else nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        k, v = self.kv(x).view(B, H * W, 2, self.heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        weights = self.normalise(self.saliency(k))
        context = weights.transpose(2, 3) @ v if self.gate_dim == 1 else (weights * v).sum(dim=2, keepdim=True)
        mixed = self.interact(k, v, context)
        out: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(B, H, W, C))
        return out

    def saliency(self, k: torch.Tensor) -> torch.Tensor:
        """Keys (B, heads, N, head_dim) -> the gate's (B, heads, N, 1), or (B, heads, N, head_dim) per channel."""
        if self.bottleneck is not None:
            gates: torch.Tensor = self.bottleneck(k)
            return gates
        gate = self.gate
        assert gate is not None
        return (k @ gate) * self.head_dim**-0.5 if self.gate_dim == 1 else k * gate

    def normalise(self, saliency: torch.Tensor) -> torch.Tensor:
        """(B, heads, N, 1 or head_dim) -> weights of the same shape, normalised over the N positions."""
        if self.normaliser == "softmax":
            return saliency.softmax(dim=2)
        if self.bias is not None:
            return (saliency + self.bias).sigmoid() / saliency.shape[2]
        return F.normalize(saliency, dim=2)

    def interact(self, k: torch.Tensor, v: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Local keys or values (B, heads, N, head_dim) meet the context (B, heads, 1, head_dim)."""
        if self.combine == "sigmoid_key":
            return k.sigmoid() * context
        if self.combine == "relu_key":
            return k.relu() * context
        if self.combine == "key":
            return k * context
        return v * context if self.combine == "value" else v + context


class SaliencyBottleneck(nn.Module):
    """Two linear layers over the keys of all heads: (B, heads, N, head_dim) -> (B, heads, N, gate_dim)."""

    def __init__(self, width: int, heads: int, gate_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.gate_dim = gate_dim
        hidden = max(8, width // 8)
        self.reduce = nn.Linear(width, hidden)
        # A bias would cancel in the softmax over positions.
        self.expand = nn.Linear(hidden, heads * gate_dim, bias=False)

    def forward(self, k: torch.Tensor) -> torch.Tensor:
        B, heads, N, head_dim = k.shape
        tokens = k.transpose(1, 2).reshape(B, N, heads * head_dim)
        gates: torch.Tensor = self.expand(self.reduce(tokens).relu())
        return gates.view(B, N, self.heads, self.gate_dim).transpose(1, 2)
