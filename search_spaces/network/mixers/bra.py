"""Bi-level routing attention: a region attends to the regions that resemble it most."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models import register_notrace_module
from torch import nn

from search_spaces.network.layers.heads import from_heads, split_qkv, to_heads
from search_spaces.network.layers.partition import from_windows, pad_to, to_windows
from search_spaces.network.parts import part


@part("mixers", "bra")
@register_notrace_module
class BiLevelRoutingAttention(nn.Module):
    """The map in S x S regions; a region reads the `topk` ones whose mean key fits its mean query best (all heads
    together, no gradient). Per head softmax(Q K^T / sqrt(C)) V over their positions, + DW_k(V), then a linear layer.

    (B, H, W, C) -> (B, H, W, C). 4 C^2 + (k^2 + 5) C parameters; O(N^2 C topk / S^2) for N = H * W positions.

    Knobs of the block's spec (`options`):

    - regions: S, 7 as published; topk: 1, 4, 16 by stage as published.
    - scope: `routed`; `whole`, which is full attention with 1 / sqrt(d), + DW_k of the input, and no biases of Q, K and
      V, as in the last stage of the published networks.
    - pad: what is filled with zeros where S does not divide a side, at the bottom and to the right. `input`, before the
      linear layer, to the next multiple: such positions have the biases as Q, K and V and are attended. `projected`, Q,
      K and V themselves, with regions rounded down; they do not count in the means.
    - kernel: k, 5 as published.

    Source: BiFormer (arXiv 2303.08810).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        kernel = int(options.get("kernel", 5))
        self.heads: int = block["heads"]
        self.regions = int(options.get("regions", 7))
        self.topk = int(options.get("topk", 4))
        self.pads_input = options.get("pad") != "projected"
        self.is_routed = options.get("scope") != "whole"
        self.sharpness = (block["head_dim"] / width) ** 0.5
        self.qkv = nn.Linear(width, 3 * width, bias=self.is_routed)
        self.local = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.proj(self.routed(x) if self.is_routed else self.whole(x))
        return out

    def whole(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) -> (B, H, W, C), every position over all positions."""
        B, H, W, C = x.shape
        q, k, v = split_qkv(self.qkv(x).view(B, H * W, 3 * C), self.heads)
        mixed = from_heads(F.scaled_dot_product_attention(q, k, v)).view(B, H, W, C)
        return mixed + self.around(x)

    def routed(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) -> (B, H, W, C), every position over those of the regions that its own is routed to."""
        _, H, W, C = x.shape
        if self.pads_input:
            x = pad_to(x, self.regions, self.regions)
        rows = max(1, x.shape[1] // self.regions)
        columns = max(1, x.shape[2] // self.regions)
        qkv = self.qkv(x)
        padded = pad_to(qkv, rows, columns)
        windows = to_windows(padded, rows, columns)
        chosen = self.route(windows, self.counted(qkv, rows, columns))
        mixed = from_windows(self.attend(windows, chosen), rows, columns, padded.shape[1], padded.shape[2])
        local = self.around(qkv[..., 2 * C :])
        return mixed[:, :H, :W] + local[:, :H, :W]

    def counted(self, qkv: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """How many positions of each region count in its mean: (1, regions, 1)."""
        _, H, W, _ = qkv.shape
        return to_windows(pad_to(qkv.new_ones(1, H, W, 1), rows, columns), rows, columns).sum(dim=2)

    def route(self, windows: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """Q, K and V of the positions by regions, (B, regions, positions, 3 C) -> the regions that each one reads, best
        first: (B, regions, topk)."""
        C = windows.shape[3] // 3
        means = windows[..., : 2 * C].detach().sum(dim=2) / counted
        affinity = means[..., :C] @ means[..., C:].transpose(1, 2)
        return affinity.topk(min(self.topk, affinity.shape[2]), dim=2).indices

    def attend(self, windows: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """(B, regions, positions, 3 C) and the regions to read -> (B, regions, positions, C)."""
        B, R, n, _ = windows.shape
        C = windows.shape[3] // 3
        # torch divides by the root of a head's width, the source by that of all channels.
        q = to_heads(windows[..., :C].reshape(B * R, n, C) * self.sharpness, self.heads)
        first = torch.arange(B, device=windows.device)[:, None, None] * R
        read = windows[..., C:].reshape(B * R, n, 2 * C).index_select(0, (first + chosen).flatten())
        kv = read.view(B * R, chosen.shape[2] * n, 2 * C)
        k = to_heads(kv[..., :C], self.heads)
        v = to_heads(kv[..., C:], self.heads)
        return from_heads(F.scaled_dot_product_attention(q, k, v)).view(B, R, n, C)

    def around(self, x: torch.Tensor) -> torch.Tensor:
        """The depthwise convolution of a map, (B, H, W, C) -> (B, H, W, C)."""
        out: torch.Tensor = self.local(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out
