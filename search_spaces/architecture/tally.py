"""Parameters and multiply-adds of single layers. Imports no torch.

A Tally is (param_count, macs). Convention of macs: fvcore's, one image, evaluation mode. One multiply-add of a
convolution, a linear layer or a matrix product is 1 (biases are free), BatchNorm 2 and LayerNorm 5 per element, average
pooling 1 per input element; activations, softmax and sums are free. `positions` is H * W of the layer's output.
"""

import math

Tally = tuple[int, int]


def total(*parts: Tally) -> Tally:
    param_count = macs = 0
    for part in parts:
        param_count += part[0]
        macs += part[1]
    return param_count, macs


def conv(in_width: int, width: int, kernel: int, positions: int, *, groups: int = 1, bias: bool = True) -> Tally:
    weights = in_width // groups * width * kernel * kernel
    return weights + bias * width, weights * positions


def depthwise(width: int, kernel: int, positions: int, *, bias: bool = True) -> Tally:
    return conv(width, width, kernel, positions, groups=width, bias=bias)


def conv_norm(in_width: int, width: int, kernel: int, positions: int, *, groups: int = 1) -> Tally:
    """A convolution without bias, then BatchNorm."""
    return total(conv(in_width, width, kernel, positions, groups=groups, bias=False), norm("batch", width, positions))


def linear(in_width: int, width: int, positions: int, *, bias: bool = True) -> Tally:
    return conv(in_width, width, 1, positions, bias=bias)


def cross_scale(in_width: int, width: int, kernels: tuple[int, ...], positions: int) -> Tally:
    """Convolutions side by side; each has half of the channels that are left, the last one the rest."""
    parts = []
    left = width
    for kernel in kernels[:-1]:
        parts.append(conv(in_width, left // 2, kernel, positions))
        left -= left // 2
    return total(*parts, conv(in_width, left, kernels[-1], positions))


def norm(kind: str, width: int, positions: int) -> Tally:
    return 2 * width, (2 if kind == "batch" else 5) * width * positions


def norm_of(name: str, width: int, positions: int) -> Tally:
    """A norm by its name in a spec, which may say an epsilon too."""
    kind = name.partition("_")[0]
    return (0, 0) if kind == "none" else norm(kind, width, positions)


def inverted_bottleneck(
    in_width: int, hidden: int, width: int, kernel: int, positions: int, squeeze: int = 0, stride: int = 1
) -> Tally:
    """timm's InvertedResidual without its shortcut; squeeze is the inner width of squeeze-and-excitation, 0 for
    none."""
    hidden = divisible_by_8(hidden)
    before = positions * stride**2
    excite = (linear(hidden, squeeze, 1), linear(squeeze, hidden, 1)) if squeeze else ()
    return total(
        conv(in_width, hidden, 1, before, bias=False),
        norm("batch", hidden, before),
        depthwise(hidden, kernel, positions, bias=False),
        norm("batch", hidden, positions),
        *excite,
        conv(hidden, width, 1, positions, bias=False),
        norm("batch", width, positions),
    )


def pre_norm_bottleneck(
    in_width: int, width: int, positions: int, kernel: int = 3, ratio: int = 4, squeeze: int = 0, stride: int = 1
) -> Tally:
    """The MBConv of CoAtNet, MOAT and MaxViT without its shortcut; squeeze as in `inverted_bottleneck`."""
    hidden = ratio * width
    before = positions * stride**2
    excite = (linear(hidden, squeeze, 1), linear(squeeze, hidden, 1)) if squeeze else ()
    return total(
        norm("batch", in_width, before),
        conv(in_width, hidden, 1, before, bias=False),
        norm("batch", hidden, before),
        depthwise(hidden, kernel, positions, bias=False),
        norm("batch", hidden, positions),
        *excite,
        conv(hidden, width, 1, positions),
    )


def strided_bottleneck(in_width: int, width: int, stride: int, size: int, has_squeeze: bool = True) -> Tally:
    """The same to a map of size x size, with its shortcut."""
    squeeze = squeeze_width(width) if has_squeeze else 0
    branch = pre_norm_bottleneck(in_width, width, size * size, squeeze=squeeze, stride=stride)
    return total(branch, pooled_shortcut(in_width, width, size * size))


def pooled_shortcut(in_width: int, width: int, positions: int) -> Tally:
    """A 1x1 convolution where the width changes."""
    return conv(in_width, width, 1, positions) if in_width != width else (0, 0)


def squeeze_width(width: int, se_ratio: float = 0.25) -> int:
    """Inner width of squeeze-and-excitation in the MBConv of CoAtNet, MOAT and MaxViT; 0 for none."""
    return max(1, int(width * se_ratio)) if se_ratio else 0


def halving_stem(in_chans: int, width: int, norm_name: str, image_size: int, *, bias: bool) -> Tally:
    """Two 3x3 convolutions of the same width, the first of stride 2, with a norm between."""
    positions = (image_size // 2) ** 2
    first = conv(in_chans, width, 3, positions, bias=bias)
    return total(first, norm_of(norm_name, width, positions), conv(width, width, 3, positions, bias=bias))


def full_attention(in_width: int, width: int, positions: int, *, qkv_bias: bool = True) -> Tally:
    """Queries, keys and values, the products of all pairs, and the last linear layer."""
    products = 2 * positions * positions * width
    qkv = linear(in_width, 3 * width, positions, bias=qkv_bias)
    return total(qkv, (0, products), linear(width, width, positions))


def relative_table(heads: int, positions: int) -> int:
    """Entries of a table of offsets on a square map."""
    return heads * (2 * math.isqrt(positions) - 1) ** 2


def multi_head_conv(width: int, head_dim: int, positions: int) -> Tally:
    """A 3x3 within heads, BatchNorm, 1x1, no biases."""
    heads = conv(width, width, 3, positions, groups=width // head_dim, bias=False)
    return total(heads, norm("batch", width, positions), conv(width, width, 1, positions, bias=False))


def divisible_by_8(width: int) -> int:
    """timm's make_divisible, which sets the hidden width of its inverted bottleneck."""
    rounded = max(8, (width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded
