"""Attentive convolution: a depthwise convolution whose kernels are made from the whole map."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.network.layers.sample_conv import sample_conv
from search_spaces.network.parts import part


@part("mixers", "atconv")
class AttentiveConv(nn.Module):
    """K = W(GELU(mean of PW x in k^2 bins)); K <- K - sigmoid(lambda) mean K; y = PW(DW_K(PW x)).

    (B, H, W, C) -> (B, H, W, C). 3 C^2 + 4 C + k^4 + k^2 parameters. The k x k kernels are one per sample and channel.
    The bins cut the positions, row after row, into equal parts. W, k^2 -> k^2, is shared by the channels; lambda, one
    per channel, starts at 0. The knob `kernel` is k, odd.

    Source: Attentive Convolution (arXiv 2510.20092), AttNet.
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.kernel = int(dict(block.get("options", ())).get("kernel", 3))
        self.taps = self.kernel**2
        self.summary = nn.Linear(width, width)
        self.act = nn.GELU()
        self.make = nn.Linear(self.taps, self.taps)
        self.inhibition = nn.Parameter(torch.zeros(width))
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Flattened before it is transposed, so that the pooling knows the channels to lie last, and copies nothing.
        tokens = self.summary(x).flatten(1, 2).transpose(1, 2)
        kernels = self.make(self.act(F.adaptive_avg_pool1d(tokens, self.taps)))
        kernels = kernels - self.inhibition.sigmoid()[:, None] * kernels.mean(dim=2, keepdim=True)
        values = self.value(x).permute(0, 3, 1, 2)
        mixed = sample_conv(values, kernels.unflatten(2, (self.kernel, self.kernel)))
        out: torch.Tensor = self.proj(mixed.permute(0, 2, 3, 1))
        return out
