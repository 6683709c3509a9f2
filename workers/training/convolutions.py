"""Convolutions that train fast on a CPU where torch's library has no good kernel.

oneDNN has a fast weight gradient for kernels of at most three columns whose rows fit into the map, and none for
dilated ones. All others take 5 to 60 times as long as the forward pass (docs/measurements/training.md). Here a larger
kernel is cut into strips of three columns, a kernel larger than its map becomes a matrix product of positions, and a
dilated convolution becomes a plain one on every d-th row and column. A 1x1 convolution of few positions is a linear
layer, because to prepare the library's convolution takes longer than such a product.

Nothing of it enters a network's file: a network is changed for its training only, and its parameters stay the same.
"""

from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LIBRARY_KERNEL = 3
"""Columns of the largest kernel for which the library has a fast weight gradient."""
MOST_POSITIONS = 64
"""Positions of a map up to which all pairs of them are multiplied; the work grows with their square."""
FEW_POSITIONS = 4096
"""Positions of a batch up to which a linear layer is the faster 1x1 convolution."""
DTYPES = torch.float32, torch.float64


def use_fast_convolutions(network: nn.Module) -> None:
    """Let the depthwise and 1x1 convolutions of a network on a CPU compute by the functions below, in place.

    Left as they are: strides, even kernels and paddings that change the size of the map; and all of them where torch
    computes without oneDNN.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in network.modules():
        if not isinstance(module, nn.Conv2d) or not _keeps_maps(module):
            continue
        if _is_depthwise(module):
            module._conv_forward = partial(depthwise_conv, dilation=module.dilation[0])  # type: ignore[method-assign]
        elif module.groups == 1 and module.kernel_size == (1, 1):
            module._conv_forward = pointwise_conv  # type: ignore[method-assign, assignment]


def _keeps_maps(conv: nn.Conv2d) -> bool:
    """Whether it has a square odd kernel and an output of its input's size."""
    kernel = conv.kernel_size[0]
    dilation = conv.dilation[0]
    same = (dilation * (kernel // 2),) * 2
    is_square = conv.kernel_size == (kernel, kernel) and conv.dilation == (dilation, dilation)
    keeps_size = conv.stride == (1, 1) and conv.padding in (same, "same") and conv.padding_mode == "zeros"
    return is_square and kernel % 2 == 1 and keeps_size


def _is_depthwise(conv: nn.Conv2d) -> bool:
    return conv.groups > 1 and conv.weight.shape[1] == 1 and conv.groups % len(conv.weight) == 0


def pointwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """1x1 convolution.

    Args:
        x: (B, C, H, W); fastest in channels_last.
        weight: (D, C, 1, 1).
        bias: (D,) or None.

    Returns:
        (B, D, H, W), equal to that of conv2d up to rounding.
    """
    batch, _, height, width = x.shape
    if batch * height * width > FEW_POSITIONS:
        return F.conv2d(x, weight, bias)
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Tensor:
    """Depthwise convolution with zeros around the map, to an output of the same size.

    Args:
        x: (B, C, H, W); fastest in channels_last.
        weight: (C, 1, k, k) with an odd k.
        bias: (C,) or None.

    Returns:
        (B, C, H, W), equal to that of conv2d up to rounding, and so are the gradients.
    """
    if x.dtype not in DTYPES or weight.dtype != x.dtype:
        reach = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, bias, padding=reach, dilation=dilation, groups=len(weight))
    if dilation > 1:
        return _dilated(x, weight, bias, dilation)
    return _plain(x, weight, bias)


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    height, width = x.shape[2:]
    kernel = weight.shape[-1]
    fits = kernel <= min(height, width)
    if kernel == 1 or (fits and kernel <= LIBRARY_KERNEL) or (not fits and height * width > MOST_POSITIONS):
        return F.conv2d(x, weight, bias, padding=kernel // 2, groups=len(weight))
    out: Tensor = _DepthwiseConv.apply(x, weight, bias)
    return out


def _dilated(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """Rows and columns that are `dilation` apart see each other and no others: each such set is a map of its own."""
    batch, channels, height, width = x.shape
    rows = -(-height // dilation)
    columns = -(-width // dilation)
    tokens = F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, columns * dilation - width, 0, rows * dilation - height))
    apart = tokens.view(batch, rows, dilation, columns, dilation, channels).permute(0, 2, 4, 1, 3, 5)
    maps = apart.reshape(batch * dilation**2, rows, columns, channels).permute(0, 3, 1, 2)
    out = _plain(maps, weight, bias).permute(0, 2, 3, 1)
    together = out.reshape(batch, dilation, dilation, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
    return together.reshape(batch, rows * dilation, columns * dilation, channels)[:, :height, :width].permute(
        0, 3, 1, 2
    )


class _DepthwiseConv(torch.autograd.Function):
    """The library's forward pass, which is also the gradient of the input; a weight gradient of our own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        kernel = weight.shape[-1]
        x = x.contiguous(memory_format=torch.channels_last)
        grad = grad.contiguous(memory_format=torch.channels_last)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        # Where the map keeps its size, a position's gradient gathers by the same kernel, turned by half a turn.
        turned = F.conv2d(grad, weight.flip(2, 3), padding=kernel // 2, groups=len(weight)) if needs_x else None
        gradient = _by_strips if kernel <= min(x.shape[2:]) else _by_products
        return turned, gradient(x, grad, kernel) if needs_weight else None, grad.sum((0, 2, 3)) if needs_bias else None


def _by_strips(x: Tensor, grad: Tensor, kernel: int) -> Tensor:
    """Weight gradient (C, 1, k, k) from strips of three columns, for kernels that fit into the map.

    A strip that lies `shift` columns from the middle is the middle strip of maps of which one is moved by `shift`. At
    the borders a map moved so misses what its inner neighbour column saw; only the other columns are taken from it.
    """
    middle = kernel // 2
    width = x.shape[3]
    weight = x.new_empty(x.shape[1], 1, kernel, kernel)
    weight[..., middle - 1 : middle + 2] = _strip(x, grad, kernel)
    for shift in range(2, middle + 1, 2):
        taken = min(2, middle - shift + 1)
        left = _strip(x[..., : width - shift], grad[..., shift:], kernel)
        weight[..., middle - shift - taken + 1 : middle - shift + 1] = left[..., 2 - taken : 2]
        right = _strip(x[..., shift:], grad[..., : width - shift], kernel)
        weight[..., middle + shift : middle + shift + taken] = right[..., 1 : 1 + taken]
    return weight


def _strip(x: Tensor, grad: Tensor, rows: int) -> Tensor:
    """The library's weight gradient of a kernel of `rows` x 3: (C, 1, rows, 3)."""
    channels = x.shape[1]
    weight: Tensor
    _, weight, _ = torch.ops.aten.convolution_backward(
        grad.contiguous(memory_format=torch.channels_last),
        x.contiguous(memory_format=torch.channels_last),
        x.new_empty(channels, 1, rows, 3),
        None,
        (1, 1),
        (rows // 2, 1),
        (1, 1),
        False,
        (0, 0),
        channels,
        (False, True, False),
    )
    return weight


def _by_products(x: Tensor, grad: Tensor, kernel: int) -> Tensor:
    """Weight gradient (C, 1, k, k) from the products of all pairs of positions, for maps smaller than the kernel."""
    channels, height, width = x.shape[1:]
    pairs = torch.bmm(_by_channel(grad).transpose(1, 2), _by_channel(x)).view(channels, -1)
    return (pairs @ _taps_of_pairs(height, width, kernel, x.dtype)).view(channels, 1, kernel, kernel)


def _by_channel(maps: Tensor) -> Tensor:
    """(B, C, H, W) -> (C, B, H W)."""
    batch, channels, height, width = maps.shape
    tokens = maps.permute(0, 2, 3, 1).reshape(-1, channels)
    return tokens.t().contiguous().view(channels, batch, height * width)


@lru_cache(maxsize=64)
def _taps_of_pairs(height: int, width: int, kernel: int, dtype: torch.dtype) -> Tensor:
    """(H W H W, k k): 1 where a pair (position of the output, position of the input) meets at that tap of the
    kernel."""
    row = torch.arange(height)
    column = torch.arange(width)
    tap_row = (row[None, :] - row[:, None] + kernel // 2)[:, None, :, None]
    tap_column = (column[None, :] - column[:, None] + kernel // 2)[None, :, None, :]
    taps = torch.arange(kernel)
    meets = (tap_row[..., None, None] == taps[:, None]) & (tap_column[..., None, None] == taps)
    return meets.reshape((height * width) ** 2, kernel**2).to(dtype)
