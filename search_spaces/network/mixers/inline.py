"""Linear attention whose weights are normalised by subtraction, and a local convolution predicted from its input."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.network.layers.heads import from_heads, split_qkv
from search_spaces.network.layers.sample_conv import sample_conv
from search_spaces.network.parts import part


@part("mixers", "inline")
class InLineAttention(nn.Module):
    """Per head, S_ij = phi(q_i) . phi(k_j) / sqrt(d): Y_i = 1/N sum_j (S_ij - mean_j S_ij + 1) V_j; then + DW_3(V), and
    a linear layer.

    (B, H, W, C) -> (B, H, W, C). 4 C^2 + 14 C + 10 C^2 / h parameters; O(N C d) for N = H * W positions: the sum is
    mean V + Q (K - mean K)^T V / (N sqrt(d)), K and Q after phi, and no table of pairs exists. Weights sum to 1 and may
    be negative, so that no two queries share them.

    The 3x3 kernels, one per sample and channel, come from the mean of the input by two layers grouped by heads. The
    knob `phi` is identity (published), relu, leakyrelu (slope 0.01) or exp, which is exp(0.2 t).

    Source: InLine attention (arXiv 2412.06590).
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        super().__init__()
        self.heads: int = block["heads"]
        self.scale: float = block["head_dim"] ** -0.5
        self.phi: str = dict(block.get("options", ())).get("phi", "identity")
        self.qkv = nn.Linear(width, 3 * width)
        self.kernels = nn.Sequential(
            nn.Conv1d(width, width, 1, groups=self.heads),
            nn.GELU(),
            nn.Conv1d(width, 9 * width, 1, groups=self.heads),
        )
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, H, W, C = x.shape
        q, k, v = split_qkv(self.qkv(x).view(B, H * W, 3 * C), self.heads)
        k = self.feature(k)
        centred = (k - k.mean(dim=2, keepdim=True)) * (self.scale / (H * W))
        mixed = self.feature(q) @ (centred.transpose(2, 3) @ v) + v.mean(dim=2, keepdim=True)
        local = self.local(x, v.transpose(2, 3).reshape(B, C, H, W))
        out: torch.Tensor = self.proj(from_heads(mixed).view(B, H, W, C) + local)
        return out

    def feature(self, t: torch.Tensor) -> torch.Tensor:
        """phi of queries or keys, (B, heads, N, head_dim) -> the same."""
        if self.phi == "relu":
            return t.relu()
        if self.phi == "leakyrelu":
            return F.leaky_relu(t)
        return torch.exp(0.2 * t) if self.phi == "exp" else t

    def local(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The input (B, H, W, C), which says the kernels, and values (B, C, H, W) -> (B, H, W, C)."""
        B, C, _, _ = v.shape
        kernels = self.kernels(x.mean(dim=(1, 2))[:, :, None]).view(B, C, 3, 3)
        out: torch.Tensor = sample_conv(v, kernels).permute(0, 2, 3, 1)
        return out
