"""Depthwise convolution with other kernels for every sample."""

import torch
import torch.nn.functional as F
from timm.models import register_notrace_function


@register_notrace_function  # type: ignore[untyped-decorator]
def sample_conv(x: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) and kernels (B, C, k, k), k odd, -> (B, C, H, W), zero padded: one grouped convolution over samples
    and channels.

    ONNX knows no groups whose number follows the batch, and torch none of an empty batch; both take the slower form.
    """
    B, C, H, W = x.shape
    k = kernels.shape[2]
    is_written = False if torch.jit.is_scripting() else torch.onnx.is_in_onnx_export()  # type: ignore[attr-defined]
    if is_written or B == 0:
        return gathered_conv(x, kernels)
    mixed = F.conv2d(x.reshape(1, B * C, H, W), kernels.reshape(B * C, 1, k, k), padding=k // 2, groups=B * C)
    return mixed.view(B, C, H, W)


def gathered_conv(x: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """The same with the neighbours of every position copied: k^2 times the memory."""
    B, C, H, W = x.shape
    k = kernels.shape[2]
    neighbours = F.unfold(x, k, padding=k // 2).view(B, C, k * k, H, W)
    return (neighbours * kernels.reshape(B, C, k * k, 1, 1)).sum(dim=2)
