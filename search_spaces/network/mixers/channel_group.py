"""Channel-group attention: channels attend to channels, over all positions at once."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.parts import part


@part("mixers", "channel_group")
class ChannelGroupAttention(nn.Module):
    """Per group of d channels, with Q, K, V of shape (d, N): softmax_d(Q K^T / sqrt(N)) V, then a linear layer.

    (B, H, W, C) -> (B, H, W, C). 4 C^2 + 4 C parameters, 2 N C d multiply-adds in the products: linear in N = H * W,
    and each weight sees the whole image. The spec's heads are the groups.

    The knob `form` (`options`) is `scaled`, that formula, or `released`: softmax_d(K V^T / sqrt(d)) Q, which is what
    DaViT's released weights were trained with.

    Source: DaViT (arXiv 2204.03645); the scale 1 / sqrt(N) is that of timm's ChannelAttentionV2, which keeps logits at
    one size whatever the image's.
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.heads = block["heads"]
        self.head_dim = block["head_dim"]
        self.is_released = dict(block.get("options", ())).get("form") == "released"
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        streams = self.qkv(x).view(B, H * W, 3, self.heads, self.head_dim).permute(2, 0, 3, 4, 1)
        q, k, v = streams.unbind(0)
        scale = (H * W) ** -0.5
        if self.is_released:
            v, q, k = streams.unbind(0)
            scale = self.head_dim**-0.5
        weights = ((q * scale) @ k.transpose(2, 3)).softmax(dim=3)
        out: torch.Tensor = self.proj((weights @ v).permute(0, 3, 1, 2).reshape(B, H, W, C))
        return out
