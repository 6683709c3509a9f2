"""Scaled dot product attention over all positions."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.network.layers.attend import attend_with
from search_spaces.network.layers.positions import PositionGate, RelativePositionBias
from search_spaces.network.parts import part


@part("mixers", "full")
class FullAttention(nn.Module):
    """softmax(Q K^T / sqrt(head_dim) + bias) V, then a linear layer; O(N^2 C) for N = H * W positions.

    (B, H, W, C) -> (B, H, W, C). The bias is that of relative positions where the block asks for it, else there is
    none; on maps of another size its table is interpolated as the knob `resize` says, bicubic or bilinear (MOAT, arXiv
    2210.01820). torch picks the kernel (flash where the device has it and there is no bias). Tokens may have another
    width than `width`: `in_width`.

    With the knob `form` at `gated` the weights are a mean of these and of weights that depend on the two positions only
    (PositionGate), and Q, K, V have no bias. The values are the identity at first, and the heads look at neighbours, so
    that the attention begins as a convolution.

    Source: "Attention Is All You Need" (arXiv 1706.03762); the gated form is GPSA of ConViT (2103.10697).
    """

    def __init__(self, width: int, block: dict[str, Any], in_width: int = 0) -> None:
        super().__init__()
        self.heads = block["heads"]
        self.head_dim = block["head_dim"]
        options = dict(block.get("options", ()))
        is_gated = options.get("form") == "gated"
        self.qkv = nn.Linear(in_width or width, 3 * width, bias=not is_gated)
        side = block.get("map_size", 0)
        mode = options.get("resize", "bicubic")
        self.bias = RelativePositionBias(self.heads, side, side, mode) if block.get("position") == "relative" else None
        self.gate = PositionGate(self.heads) if is_gated else None
        self.proj = nn.Linear(width, width)

    def start_as_published(self) -> None:
        """Set what the backbone's rule for linear layers must not."""
        if self.gate is not None:
            nn.init.eye_(self.qkv.weight.data[2 * self.qkv.in_features :])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, _ = x.shape
        q, k, v = self.qkv(x).view(B, H * W, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        if self.bias is None:
            content = F.scaled_dot_product_attention(q, k, v)
            if self.gate is not None:
                content = self.gate(content, v, H, W)
            mixed = content.transpose(1, 2)
        else:
            mixed = attend_with(self.bias(H, W), q, k, v, self.head_dim**-0.5).transpose(1, 2)
            # Whether the kernel for a bias returns positions or heads first depends on gradients; an exporter must not
            # rely on either.
            mixed = mixed.clone(memory_format=torch.contiguous_format)
        out: torch.Tensor = self.proj(mixed.reshape(B, H, W, self.heads * self.head_dim))
        return out
