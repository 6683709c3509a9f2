"""A map in windows, or in the cells of a grid, and back. No loop over windows."""

import torch
import torch.nn.functional as F


def pad_to(x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """(B, H, W, C) with zeros below and to the right, so that `rows` and `columns` divide the sides."""
    below = -x.shape[1] % rows
    right = -x.shape[2] % columns
    return F.pad(x, (0, 0, 0, right, 0, below)) if below or right else x


def to_windows(x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """(B, H, W, C) -> (B, H / rows * W / columns, rows * columns, C): neighbouring positions in windows, by rows."""
    B, H, W, C = x.shape
    x = x.view(B, H // rows, rows, W // columns, columns, C).transpose(2, 3)
    return x.reshape(B, (H // rows) * (W // columns), rows * columns, C)


def from_windows(x: torch.Tensor, rows: int, columns: int, height: int, width: int) -> torch.Tensor:
    """What `to_windows` made of a map of height x width: back to (B, height, width, C)."""
    B, _, _, C = x.shape
    x = x.view(B, height // rows, width // columns, rows, columns, C).transpose(2, 3)
    return x.reshape(B, height, width, C)


def to_grid(x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """(B, H, W, C) -> (B, H / rows * W / columns, rows * columns, C): the positions whose coordinates have equal
    remainders modulo H / rows and W / columns, in groups."""
    B, H, W, C = x.shape
    x = x.view(B, rows, H // rows, columns, W // columns, C).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(B, (H // rows) * (W // columns), rows * columns, C)


def from_grid(x: torch.Tensor, rows: int, columns: int, height: int, width: int) -> torch.Tensor:
    """What `to_grid` made of a map of height x width: back to (B, height, width, C)."""
    B, _, _, C = x.shape
    x = x.view(B, height // rows, width // columns, rows, columns, C).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(B, height, width, C)
