"""Two 1x1 convolutions with a depthwise one between, and BatchNorm before that."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.parts import part


@part("ffns", "mlp_local")
class LocalMlp(nn.Module):
    """1x1 C -> rC, BatchNorm, depthwise 3x3, GELU, 1x1 rC -> C, all with bias; r is the block's `ffn_ratio`.

    (B, H, W, C) -> (B, H, W, C). The local perception of CAS-ViT (arXiv 2408.03703), which has r = 1 and no norm before
    it.
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        hidden = block["ffn_ratio"] * width
        self.expand = nn.Conv2d(width, hidden, 1)
        self.norm = nn.BatchNorm2d(hidden)
        self.conv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.act = nn.GELU()
        self.reduce = nn.Conv2d(hidden, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.act(self.conv(self.norm(self.expand(x.permute(0, 3, 1, 2)))))
        out: torch.Tensor = self.reduce(hidden).permute(0, 2, 3, 1)
        return out
