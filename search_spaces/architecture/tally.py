"""Parameters and multiply-adds of single layers. Imports no torch.

A Tally is (param_count, macs). Convention of macs: fvcore's, one image, evaluation mode. One multiply-add of a
convolution, a linear layer or a matrix product is 1 (biases are free), BatchNorm 2 and LayerNorm 5 per element, average
pooling 1 per input element; activations, softmax and sums are free. `positions` is H * W of the layer's output.
"""

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


def divisible_by_8(width: int) -> int:
    """timm's make_divisible, which sets the hidden width of its inverted bottleneck."""
    rounded = max(8, (width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded
