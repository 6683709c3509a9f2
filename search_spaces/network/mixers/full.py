"""Scaled dot product attention over all positions."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models import register_notrace_module
from torch import nn

from search_spaces.network.mixers.registry import mixer


@register_notrace_module
class RelativePositionBias(nn.Module):
    """A learned bias per head and offset between two positions: (H, W) -> (1, heads, H W, H W).

    The table has (2 map_size - 1)^2 entries per head; on maps of another size it is interpolated, so that no parameter
    depends on the image. Source: Swin Transformer (arXiv 2103.14030), as CoAtNet (2106.04803) and MOAT (2210.01820) use
    it.
    """

    def __init__(self, heads: int, map_size: int) -> None:
        super().__init__()
        self.map_size = map_size
        self.bias_table = nn.Parameter(torch.zeros(heads, 2 * map_size - 1, 2 * map_size - 1))
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, height: int, width: int) -> torch.Tensor:
        table: torch.Tensor = self.bias_table
        if height != self.map_size or width != self.map_size:
            table = F.interpolate(
                table[None], size=(2 * height - 1, 2 * width - 1), mode="bicubic", align_corners=False
            )[0]
        y = torch.arange(height, device=table.device)
        x = torch.arange(width, device=table.device)
        rows = (y[:, None] - y[None, :] + height - 1)[:, None, :, None] * (2 * width - 1)
        columns = (x[:, None] - x[None, :] + width - 1)[None, :, None, :]
        offsets = (rows + columns).reshape(-1)
        return table.flatten(1)[:, offsets].view(1, table.shape[0], height * width, height * width)


@mixer("full")
class FullAttention(nn.Module):
    """softmax(Q K^T / sqrt(head_dim) + bias) V, then a linear layer; O(N^2 C) for N = H * W positions.

    (B, H, W, C) -> (B, H, W, C). The bias is that of relative positions where the block asks for it, else there is
    none. torch picks the kernel (flash where the device has it and there is no bias).

    Source: "Attention Is All You Need" (arXiv 1706.03762).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.heads = block["heads"]
        self.head_dim = block["head_dim"]
        self.qkv = nn.Linear(width, 3 * width)
        self.bias = RelativePositionBias(self.heads, block["map_size"]) if block.get("position") == "relative" else None
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        q, k, v = self.qkv(x).view(B, H * W, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        if self.bias is None:
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias(H, W).to(q.dtype)).transpose(1, 2)
            # Whether the kernel for a bias returns positions or heads first depends on gradients; an exporter must not
            # rely on either.
            mixed = mixed.clone(memory_format=torch.contiguous_format)
        out: torch.Tensor = self.proj(mixed.reshape(B, H, W, C))
        return out
