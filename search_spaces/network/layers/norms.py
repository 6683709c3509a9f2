"""Norms by the names that a spec gives them."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from timm.layers.norm import LayerNorm, LayerNorm2d
from timm.models import register_notrace_module
from torch import nn

MAP_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "batch_1e-3": partial(nn.BatchNorm2d, eps=1e-3),
    "layer": LayerNorm2d,
    "layer_1e-5": partial(LayerNorm2d, eps=1e-5),
    "none": nn.Identity,
}
"""Norms of maps, (B, C, H, W). layer has an epsilon of 1e-6, batch of 1e-5; a name says another."""


@register_notrace_module
class TokenBatchNorm(nn.BatchNorm2d):
    """BatchNorm of tokens, (B, H, W, C) -> (B, H, W, C).

    The counter of batches stays at zero: only a momentum of None reads it.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # TorchScript knows no super().
        normed = F.batch_norm(
            x.permute(0, 3, 1, 2),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )
        return normed.permute(0, 2, 3, 1)


@register_notrace_module
class VectorBatchNorm(nn.BatchNorm1d):
    """BatchNorm of vectors, (B, C) -> (B, C).

    A batch of one image has no variance: it is normalised by the running statistics, in training too. The counter of
    batches stays at zero.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        by_batch = self.training and x.shape[0] > 1
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, self.momentum or 0.0, self.eps
        )


TOKEN_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": TokenBatchNorm,
    "batch_1e-3": partial(TokenBatchNorm, eps=1e-3),
    "layer": LayerNorm,
    "layer_1e-5": partial(LayerNorm, eps=1e-5),
    "none": nn.Identity,
}
"""The same of tokens, (B, H, W, C)."""


class ConvNorm(nn.Sequential):
    """A convolution without bias, then BatchNorm: (B, C, H, W) -> (B, width, H / stride, W / stride)."""

    def __init__(
        self, in_width: int, width: int, kernel: int = 1, stride: int = 1, groups: int = 1, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_width, width, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=eps)
