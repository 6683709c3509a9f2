"""A map in windows, or in the cells of a grid, and back. No loop over windows.

Windows and grids are cases of one partition: groups of rows x columns positions that stand `down` and `across` apart.
"""

import torch
import torch.nn.functional as F


def pad_to(x: torch.Tensor, rows: int, columns: int, fill: float = 0.0) -> torch.Tensor:
    """(B, H, W, C) with `fill` below and to the right, so that `rows` and `columns` divide the sides."""
    below = -x.shape[1] % rows
    right = -x.shape[2] % columns
    return F.pad(x, (0, 0, 0, right, 0, below), value=fill) if below or right else x


def to_groups(x: torch.Tensor, rows: int, columns: int, down: int, across: int) -> torch.Tensor:
    """(B, H, W, C) -> (B, groups, rows * columns, C): regions of rows * down by columns * across positions, and in each
    the positions that stand `down` and `across` apart in one group. The sides are multiples of the regions'."""
    B, H, W, C = x.shape
    x = x.view(B, H // (rows * down), rows, down, W // (columns * across), columns, across, C)
    return x.permute(0, 1, 4, 3, 6, 2, 5, 7).reshape(B, H * W // (rows * columns), rows * columns, C)


def from_groups(
    x: torch.Tensor, rows: int, columns: int, down: int, across: int, height: int, width: int
) -> torch.Tensor:
    """What `to_groups` made of a map of height x width: back to (B, height, width, C)."""
    B, _, _, C = x.shape
    x = x.view(B, height // (rows * down), width // (columns * across), down, across, rows, columns, C)
    return x.permute(0, 1, 5, 3, 2, 6, 4, 7).reshape(B, height, width, C)


def to_overlapping(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """(B, H, W, C) -> (B, R * S, rows * columns, C): windows that may overlap, of the rows and columns whose numbers
    are given, (R, rows) and (S, columns)."""
    B, H, W, C = x.shape
    places = rows[:, None, :, None] * W + columns[None, :, None, :]
    inside = rows.shape[1] * columns.shape[1]
    return x.reshape(B, H * W, C).index_select(1, places.flatten()).view(B, rows.shape[0] * columns.shape[0], inside, C)


def to_windows(x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """(B, H, W, C) -> (B, H / rows * W / columns, rows * columns, C): neighbouring positions in windows, by rows."""
    return to_groups(x, rows, columns, 1, 1)


def from_windows(x: torch.Tensor, rows: int, columns: int, height: int, width: int) -> torch.Tensor:
    """What `to_windows` made of a map of height x width: back to (B, height, width, C)."""
    return from_groups(x, rows, columns, 1, 1, height, width)


def to_grid(x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """(B, H, W, C) -> (B, H / rows * W / columns, rows * columns, C): the positions whose coordinates have equal
    remainders modulo H / rows and W / columns, in groups."""
    return to_groups(x, rows, columns, x.shape[1] // rows, x.shape[2] // columns)


def from_grid(x: torch.Tensor, rows: int, columns: int, height: int, width: int) -> torch.Tensor:
    """What `to_grid` made of a map of height x width: back to (B, height, width, C)."""
    return from_groups(x, rows, columns, height // rows, width // columns, height, width)
