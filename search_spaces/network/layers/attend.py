"""Softmax attention in token order, with a bias, in one group of positions or in many."""

import torch
import torch.nn.functional as F
from timm.models import register_notrace_function


def unseen() -> float:
    """Added to the logit of a key that must not be seen. It is finite in every precision, so that a group of padding
    alone gives numbers."""
    return -3e4


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """softmax(q k / sqrt(d) + bias) v of each head: (B, n, heads, d) and keys and values (B, m, heads, ...) -> (B, n,
    heads * width of a value). The bias broadcasts to (B, heads, n, m)."""
    q = q.transpose(1, 2)
    k = k.transpose(1, 2)
    v = v.transpose(1, 2)
    mixed = F.scaled_dot_product_attention(q, k, v) if bias is None else attend_with(bias, q, k, v, q.shape[3] ** -0.5)
    # Whether a kernel returns positions or heads first is its own matter; an exporter must not rely on either.
    return mixed.transpose(1, 2).clone(memory_format=torch.contiguous_format).flatten(2)


@register_notrace_function  # type: ignore[untyped-decorator]
def attend_with(bias: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    """softmax(q k scale + bias) v, heads first: (B, heads, n, d) and (B, heads, m, ...) -> (B, heads, n, width of a
    value). Every query sees a key."""
    bias = bias.to(q.dtype)
    if bias.requires_grad and not q.is_cuda:
        # torch looks for queries without a key here, which takes an eighth of a training step.
        return ((q * scale) @ k.transpose(2, 3) + bias).softmax(dim=3) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)


def attend_in_groups(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The same in each of G groups: (B, G, n, heads, d) -> (B, G, n, heads * width of a value).

    Args:
        bias: (heads, 1, n, m) for all groups, or (heads, G, n, m).
    """
    B, G, n = q.shape[:3]
    width = v.shape[3] * v.shape[4]  # an empty batch leaves nothing to infer it from
    if bias is None or bias.shape[1] == 1:
        shared = None if bias is None else bias.transpose(0, 1)
        return attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), shared).view(B, G, n, width)
    # Groups stand beside the heads, so that no bias is copied for every image.
    mixed = attend(_side_by_side(q), _side_by_side(k), _side_by_side(v), bias.flatten(0, 1)[None])
    return mixed.view(B, n, bias.shape[0], G, v.shape[4]).permute(0, 3, 1, 2, 4).flatten(3)


def _side_by_side(x: torch.Tensor) -> torch.Tensor:
    """(B, G, n, heads, d) -> (B, n, heads * G, d)."""
    return x.permute(0, 2, 3, 1, 4).flatten(2, 3)
