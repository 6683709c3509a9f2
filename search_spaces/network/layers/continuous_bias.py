"""A bias of pairs of positions, made by a small network from their offset."""

import torch
import torch.nn.functional as F
from timm.models import register_notrace_module
from torch import nn


def bin_offsets(size: int, bins: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Offsets of `size` positions from the centres of `bins` bins of adaptive pooling along one axis.

    Returns:
        Every offset that may occur, ascending, and the index among them of (position, bin): (size, bins). Offsets are
        multiples of 1/2; bins of equal size leave every second one out.
    """
    index = torch.arange(bins, device=device)
    # First and last position of each bin; their sum is twice its centre.
    ends = index * size // bins + ((index + 1) * size + bins - 1) // bins - 1
    doubled = 2 * torch.arange(size, device=device)[:, None] - ends[None, :]
    step = 2 if size % bins == 0 else 1
    least = -((bins - 1) * size // bins + size - 1)
    most = 2 * (size - 1) - ((size + bins - 1) // bins - 1)
    offsets = 0.5 * torch.arange(least, most + 1, step, device=device)
    return offsets, torch.div(doubled - least, step, rounding_mode="floor")


@register_notrace_module
class ContinuousPositionBias(nn.Module):
    """(height, width, rows, columns) -> (heads, height width, rows columns): the bias of each position of the map to
    each bin of its adaptive pooling to rows x columns.

    Linear 2 -> 512, ReLU, linear 512 -> heads of sign(u) log2(|u| + 1) / 3, where u is
    8 (position - centre of the bin) / (side - 1). The side stays that of the map in training, so images may have any
    size. Each offset goes through the network once. Source: Swin v2 (arXiv 2111.09883) as in TransNeXt (2311.17132).

    Args:
        heads: of the attention.
        rows: height of the map in training.
        columns: its width.
    """

    undecayed = ("fc1.weight", "fc2.weight")

    def __init__(self, heads: int, rows: int, columns: int) -> None:
        super().__init__()
        self.rows = rows
        self.columns = columns
        self.fc1 = nn.Linear(2, 512)
        self.fc2 = nn.Linear(512, heads)

    def forward(self, height: int, width: int, rows: int, columns: int) -> torch.Tensor:
        device = self.fc1.weight.device
        y, row_index = bin_offsets(height, rows, device)
        x, column_index = bin_offsets(width, columns, device)
        y = y / max(1, self.rows - 1)
        x = x / max(1, self.columns - 1)
        offsets = 8 * torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=2).flatten(0, 1)
        spread = torch.sign(offsets) * torch.log2(offsets.abs() + 1) / 3
        biases: torch.Tensor = self.fc2(F.relu(self.fc1(spread.to(self.fc1.weight.dtype))))
        pairs = row_index[:, None, :, None] * x.shape[0] + column_index[None, :, None, :]
        return biases.t().index_select(1, pairs.reshape(-1)).view(-1, height * width, rows * columns)
