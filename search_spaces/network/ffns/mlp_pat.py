"""PartialNet's feed-forward, with or without a gate over positions at its end."""

from typing import Any

import torch
from torch import nn

from search_spaces.network.layers.activations import ACTIVATIONS
from search_spaces.network.layers.norms import ConvNorm
from search_spaces.network.parts import part


@part("ffns", "mlp_pat")
class PartialMlp(nn.Module):
    """1x1 C -> rC, BatchNorm, activation, 1x1 rC -> C, without biases; r is the block's `ffn_ratio`.

    (B, H, W, C) -> (B, H, W, C). Knobs: `act`, the activation; `gate`, at `spatial` SpatialGate comes last. Source:
    PartialNet (arXiv 2502.01303).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        options = dict(block.get("ffn_options", ()))
        hidden = block["ffn_ratio"] * width
        self.expand = ConvNorm(width, hidden)
        self.act = ACTIVATIONS[options.get("act", "gelu")]()
        self.reduce = nn.Conv2d(hidden, width, 1, bias=False)
        self.gate = SpatialGate(width) if options.get("gate") == "spatial" else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.gate(self.reduce(self.act(self.expand(x.permute(0, 3, 1, 2))))).permute(0, 2, 3, 1)
        return out


class SpatialGate(nn.Module):
    """[BN(x1 * hardsigmoid(PW_1 x1)), PW(BN x2)] for the halves x1 and x2 of the channels; PW_1 leaves one channel.

    (B, C, H, W) -> (B, C, H, W). C^2 / 4 + 5 C / 2 parameters, no biases. Source: PAT_sp of PartialNet (arXiv
    2502.01303).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weighed = width // 2
        rest = width - self.weighed
        self.weigh = nn.Conv2d(self.weighed, 1, 1, bias=False)
        self.act = nn.Hardsigmoid()
        self.norm_weighed = nn.BatchNorm2d(self.weighed)
        self.norm_mixed = nn.BatchNorm2d(rest)
        self.mix = nn.Conv2d(rest, rest, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weighed = x[:, : self.weighed]
        weighed = self.norm_weighed(weighed * self.act(self.weigh(weighed)))
        return torch.cat((weighed, self.mix(self.norm_mixed(x[:, self.weighed :]))), dim=1)
