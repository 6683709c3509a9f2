"""Channels in heads: attention reads (B, heads, N, head_dim), everything else tokens."""

import torch


def to_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, N, C) -> (B, heads, N, C / heads)."""
    B, N, C = x.shape
    return x.view(B, N, heads, C // heads).transpose(1, 2)


def from_heads(x: torch.Tensor) -> torch.Tensor:
    """(B, heads, N, head_dim) -> (B, N, heads * head_dim)."""
    B, heads, N, head_dim = x.shape
    return x.transpose(1, 2).reshape(B, N, heads * head_dim)


def split_qkv(x: torch.Tensor, heads: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(B, N, 3 C), all of Q before K before V -> Q, K and V, each (B, heads, N, C / heads)."""
    B, N, C = x.shape
    q, k, v = x.view(B, N, 3, heads, C // (3 * heads)).permute(2, 0, 3, 1, 4).unbind(0)
    return q, k, v
