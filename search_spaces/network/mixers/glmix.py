"""GLMix: attention among a few soft clusters of positions, and convolutions of all of them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.network.mixers.full import FullAttention
from search_spaces.network.parts import part


@part("mixers", "glmix")
class GlobalLocalMix(nn.Module):
    """L = a cos(S, X) for M slots S pooled from the block's input; slots softmax_N(L) X attend to each other and return
    as softmax_M(L)^T; beside it PW, DW_k, PW of X.

    (B, H, W, C) and the block's input of the same shape -> (B, H, W, C). 6 C^2 + (k^2 + 7) C + 1 parameters; O(N M C)
    for N = H * W positions, and full attention among the M slots only.

    Knobs of the block's spec (`options`):

    - slots: M, a square number; 64 as published, pooled to 8 x 8.
    - kernel: k, 5 as published.

    Source: GLNet (arXiv 2411.14429).
    """

    reads_input = True

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("options", ()))
        self.slots = int(options.get("slots", 64))
        self.side = round(self.slots**0.5)
        kernel = int(options.get("kernel", 5))
        self.scale = nn.Parameter(torch.tensor(width**-0.5))
        self.attend = FullAttention(width, {"heads": block["heads"], "head_dim": block["head_dim"]})
        self.proj_in = nn.Linear(width, width)
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        tokens = x.reshape(B, H * W, C)
        slots = F.normalize(self.first_slots(given), dim=2)
        logits = self.scale * (slots @ F.normalize(tokens, dim=2).transpose(1, 2))
        grouped = logits.softmax(dim=2) @ tokens
        attended = self.attend(grouped.view(B, self.side, self.side, C)).view(B, self.slots, C)
        spread = (logits.transpose(1, 2).softmax(dim=2) @ attended).view(B, H, W, C)
        local = self.conv(self.proj_in(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: torch.Tensor = spread + self.proj(local)
        return out

    def first_slots(self, given: torch.Tensor) -> torch.Tensor:
        """The block's input (B, H, W, C) -> means of M overlapping parts of the map, (B, M, C)."""
        return F.adaptive_avg_pool2d(given.permute(0, 3, 1, 2), (self.side, self.side)).flatten(2).transpose(1, 2)
