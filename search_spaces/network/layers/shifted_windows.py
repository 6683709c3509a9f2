"""Windows around every position that are shifted inwards at the borders, so that none reads beyond the map.

Source: neighbourhood attention (arXiv 2204.07143), with dilation as in DiNA (2209.15001).
"""

import torch


def shifted_neighbours(height: int, width: int, kernel: int, dilation: int, device: torch.device) -> torch.Tensor:
    """Places of the kernel^2 positions in each position's window, by rows: (height width, kernel^2).

    With a dilation, a line falls apart into those of equal remainders, and windows stay within them. Expects
    kernel * dilation of at most each side.
    """
    rows = line_neighbours(height, kernel, dilation, device)
    columns = line_neighbours(width, kernel, dilation, device)
    return (rows[:, None, :, None] * width + columns[None, :, None, :]).reshape(height * width, kernel * kernel)


def shifted_offsets(height: int, width: int, kernel: int, dilation: int, device: torch.device) -> torch.Tensor:
    """Index of key - query, in steps of the dilation, among the (2 kernel - 1)^2 offsets by rows, for the positions of
    `shifted_neighbours`: (height width, kernel^2)."""
    rows = line_offsets(height, kernel, dilation, device) * (2 * kernel - 1)
    columns = line_offsets(width, kernel, dilation, device)
    return (rows[:, None, :, None] + columns[None, :, None, :]).reshape(height * width, kernel * kernel)


def gather_neighbours(x: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
    """(B, groups, N, C) and the K places that each of the N positions reads, (N, K), -> (B, groups, N, K, C)."""
    B, groups, N, C = x.shape
    return x.index_select(2, neighbours.flatten()).view(B, groups, N, neighbours.shape[1], C)


def line_neighbours(length: int, kernel: int, dilation: int, device: torch.device) -> torch.Tensor:
    """What each position of a line sees: (length, kernel)."""
    remainders = torch.arange(length, device=device) % dilation
    steps = line_starts(length, kernel, dilation, device)[:, None] + torch.arange(kernel, device=device)
    return remainders[:, None] + dilation * steps


def line_offsets(length: int, kernel: int, dilation: int, device: torch.device) -> torch.Tensor:
    """Index of key - query, in steps of the dilation, among the 2 kernel - 1 of a line: (length, kernel)."""
    own = torch.arange(length, device=device) // dilation
    first = line_starts(length, kernel, dilation, device) - own + kernel - 1
    return first[:, None] + torch.arange(kernel, device=device)


def line_starts(length: int, kernel: int, dilation: int, device: torch.device) -> torch.Tensor:
    """First step that each position sees of the positions with its remainder: (length,)."""
    positions = torch.arange(length, device=device)
    last = (length - 1 - positions % dilation) // dilation + 1 - kernel
    return torch.minimum((positions // dilation - kernel // 2).clamp(min=0), last)
