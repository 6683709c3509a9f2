"""Kernels of their own for every position, over windows that are shifted inwards at the borders."""

import torch
from torch import nn


class ShiftedKernels(nn.Module):
    """Per position, softmax(logits + bias) over the kernel x kernel positions around it weighs their values.

    The window of position p begins at p - kernel / 2, moved so that it stays on the map, as in neighbourhood attention
    (arXiv 2204.07143). The bias is learned per group and offset: `bias_table` at key - query, + kernel - 1 on each
    axis. Expects sides of at least the kernel.
    """

    undecayed = ("bias_table",)

    def __init__(self, groups: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.taps = kernel**2
        self.bias_table = nn.Parameter(torch.zeros(groups, 2 * kernel - 1, 2 * kernel - 1))
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, values: torch.Tensor, logits: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """(B, groups, N, C) and (B, groups, N, kernel^2) for N = height * width -> (B, groups, N, C)."""
        B, groups, N, C = values.shape
        seen_rows = line_windows(height, self.kernel, values.device)
        seen_columns = line_windows(width, self.kernel, values.device)
        rows = seen_rows - torch.arange(height, device=values.device)[:, None] + self.kernel - 1
        columns = seen_columns - torch.arange(width, device=values.device)[:, None] + self.kernel - 1
        offsets = map_windows(rows, columns, 2 * self.kernel - 1)
        bias = self.bias_table.flatten(1).index_select(1, offsets).view(groups, N, self.taps)
        around = values.index_select(2, map_windows(seen_rows, seen_columns, width)).view(B, groups, N, self.taps, C)
        mixed: torch.Tensor = ((logits + bias).softmax(dim=3)[:, :, :, None] @ around).view(B, groups, N, C)
        return mixed


def line_windows(length: int, kernel: int, device: torch.device) -> torch.Tensor:
    """The positions in each position's window on a line: (length, kernel)."""
    starts = (torch.arange(length, device=device) - kernel // 2).clamp(min=0, max=length - kernel)
    return starts[:, None] + torch.arange(kernel, device=device)


def map_windows(rows: torch.Tensor, columns: torch.Tensor, width: int) -> torch.Tensor:
    """Numbers of two axes, (H, k) and (W, k), as numbers of a table by rows of that width: (H W k k,)."""
    return (rows[:, None, :, None] * width + columns[None, :, None, :]).reshape(-1)
