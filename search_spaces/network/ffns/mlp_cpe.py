"""Feed-forward with a conditional position encoding between its linear layers."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.layers.conv_position import ConvPosition
from search_spaces.network.parts import part


@part("ffns", "mlp_cpe")
class PositionMlp(nn.Module):
    """u = linear C -> rC; u + DW_3(u), GELU, linear rC -> C; r is the block's `ffn_ratio`.

    (B, H, W, C) -> (B, H, W, C). Source: GLNet (arXiv 2411.14429).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        hidden = block["ffn_ratio"] * width
        self.fc1 = nn.Linear(width, hidden)
        self.position = ConvPosition(hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.position(self.fc1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: torch.Tensor = self.fc2(self.act(hidden))
        return out
