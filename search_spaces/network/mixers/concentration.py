"""Local concentration: two large depthwise convolutions sharpen what linear attention spreads."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.parts import part


@part("mixers", "concentration")
class LocalConcentration(nn.Module):
    """DW_k, GELU, BatchNorm, DW_k, with biases; k is the knob `kernel`.

    (B, H, W, C) -> (B, H, W, C). 2 k^2 C + 4 C parameters. No channels are mixed: a feed-forward follows.

    Source: L2ViT (arXiv 2501.16182), where it stands with a residual of its own between linear attention and
    feed-forward; k is 7.
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        kernel = int(dict(block.get("options", ())).get("kernel", 7))
        self.conv1 = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.act = nn.GELU()
        self.norm = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        near = self.norm(self.act(self.conv1(x.permute(0, 3, 1, 2))))
        out: torch.Tensor = self.conv2(near).permute(0, 2, 3, 1)
        return out
