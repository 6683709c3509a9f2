"""Parameters and multiply-adds of an architecture in closed form, without building it. Imports no torch.

Convention of macs: fvcore's, one image, evaluation mode. One multiply-add of a convolution, a linear layer or a matrix product is 1
(biases are free), BatchNorm 2 and LayerNorm 5 per element, average pooling 1 per input element; activations, softmax and sums are free.
Every function returns (param_count, macs); `positions` is H * W.
"""

from collections.abc import Callable
from functools import lru_cache

from nas.records import Costs
from search_spaces.architecture import STEM_STRIDE, Architecture, BlockSpec, StageSpec, StemSpec

Tally = tuple[int, int]


def costs(architecture: Architecture) -> Costs:
    """What `architecture` costs, classifier included."""
    sizes = architecture.map_sizes()
    parts = [_stem(architecture.stem, architecture.in_chans, architecture.image_size)]
    in_width = architecture.stem.width
    for stage, size in zip(architecture.stages, sizes, strict=True):
        parts.append(_downsample(stage, in_width, size))
        parts += [_block(block, stage.width, size * size) for block in stage.blocks]
        in_width = stage.width
    parts.append(_head(architecture, in_width, sizes[-1] ** 2))
    param_count, macs = _total(*parts)
    return Costs(param_count=param_count, macs=macs)


def _total(*parts: Tally) -> Tally:
    return sum(params for params, _ in parts), sum(macs for _, macs in parts)


def _conv(in_width: int, width: int, kernel: int, positions: int, *, groups: int = 1, bias: bool = True) -> Tally:
    weights = in_width // groups * width * kernel * kernel
    return weights + bias * width, weights * positions


def _depthwise(width: int, kernel: int, positions: int, *, bias: bool = True) -> Tally:
    return _conv(width, width, kernel, positions, groups=width, bias=bias)


def _linear(in_width: int, width: int, positions: int) -> Tally:
    return _conv(in_width, width, 1, positions)


def _norm(kind: str, width: int, positions: int) -> Tally:
    return 2 * width, (2 if kind == "batch" else 5) * width * positions


def _mbconv(block: BlockSpec, width: int, positions: int) -> Tally:
    hidden, squeeze = _divisible_by_8(width * block.conv_ratio), round(width * block.se_ratio)
    excite = (_linear(hidden, squeeze, 1), _linear(squeeze, hidden, 1)) if squeeze else ()
    return _total(
        _conv(width, hidden, 1, positions, bias=False),
        _norm("batch", hidden, positions),
        _depthwise(hidden, block.kernel, positions, bias=False),
        _norm("batch", hidden, positions),
        *excite,
        _conv(hidden, width, 1, positions, bias=False),
        _norm("batch", width, positions),
    )


def _divisible_by_8(width: int) -> int:
    """timm's make_divisible, which sets the hidden width of its inverted bottleneck."""
    rounded = max(8, (width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def _dwconv(block: BlockSpec, width: int, positions: int) -> Tally:
    parts = [_depthwise(width, block.kernel, positions), (width if block.layer_scale else 0, 0)]
    if block.conv_ratio:
        hidden = block.conv_ratio * width
        parts += [_norm("layer", width, positions), _linear(width, hidden, positions), _linear(hidden, width, positions)]
    return _total(*parts)


def _full(block: BlockSpec, width: int, positions: int) -> Tally:
    products = 2 * positions * positions * width
    return _total(_linear(width, 3 * width, positions), (0, products), _linear(width, width, positions))


def _key_only(block: BlockSpec, width: int, positions: int) -> Tally:
    gate = (width, 2 * positions * width)
    return _total(_linear(width, 2 * width, positions), gate, _linear(width, width, positions))


def _group_mix(block: BlockSpec, width: int, positions: int) -> Tally:
    segment = width // (len(block.group_sizes) + block.conv_branch)
    attended = block.heads * block.head_dim
    parts = [_linear(width, 3 * width, positions), _linear(width, width, positions), (0, 2 * positions * attended * block.head_dim)]
    for kernel in block.group_sizes:
        parts.append(_norm("batch", segment, 3 * positions))
        if kernel > 1:
            parts += [_depthwise(segment, kernel, 3 * positions, bias=False), _conv(segment, segment, 1, 3 * positions, bias=False)]
    if block.conv_branch:
        parts += [_depthwise(3 * segment, 3, positions, bias=False), _conv(3 * segment, segment, 1, positions, bias=False)]
        parts.append(_norm("layer", segment, positions))
    large = 3 * block.heads // 8
    for kernel, heads in ((3, block.heads - 2 * large), (5, large), (7, large)):
        parts.append(_depthwise(heads * block.head_dim, kernel, positions) if heads else (0, 0))
    return _total(*parts)


MIXER_COSTS: dict[str, Callable[[BlockSpec, int, int], Tally]] = {
    "mbconv": _mbconv,
    "dwconv": _dwconv,
    "key_only": _key_only,
    "group_mix": _group_mix,
    "full": _full,
}
"""Same names as the mixers' registry."""


@lru_cache(maxsize=4096)
def _block(block: BlockSpec, width: int, positions: int) -> Tally:
    parts = []
    if block.conv:
        parts.append(MIXER_COSTS[block.conv](block, width, positions))
    if block.attention:
        parts += [_norm("layer", width, positions), MIXER_COSTS[block.attention](block, width, positions)]
        if block.position == "cpe":
            parts.append(_depthwise(width, 3, positions))
    if block.ffn != "none":
        hidden = block.ffn_ratio * width
        parts += [_norm("layer", width, positions), _linear(width, hidden, positions), _linear(hidden, width, positions)]
        if block.ffn == "mlp_dw":
            parts.append(_depthwise(hidden, 3, positions))
    return _total(*parts)


def _stem(stem: StemSpec, in_chans: int, image_size: int) -> Tally:
    positions = (image_size // STEM_STRIDE) ** 2
    norm = _norm(stem.norm, stem.width, positions)
    if stem.kind == "patchify":
        return _total(_conv(in_chans, stem.width, 4, positions), norm)
    if stem.kind == "overlap":
        return _total(_conv(in_chans, stem.width, 7, positions), norm)
    half = stem.width // 2
    first = (_conv(in_chans, half, 3, 4 * positions), _norm(stem.norm, half, 4 * positions))
    return _total(*first, _conv(half, stem.width, 3, positions), norm)


def _downsample(stage: StageSpec, in_width: int, size: int) -> Tally:
    positions, width = size * size, stage.width
    if stage.downsample == "none":
        return 0, 0
    if stage.downsample == "separable":
        pointwise = _conv(in_width, width, 1, positions, bias=False)
        return _total(_depthwise(in_width, 3, positions, bias=False), pointwise, _norm("batch", width, positions))
    if stage.downsample == "patchify":
        return _total(_norm("layer", in_width, positions * stage.stride**2), _conv(in_width, width, stage.stride, positions))
    return _total(_conv(in_width, width, 3, positions), _norm("layer", width, positions))


def _head(architecture: Architecture, width: int, positions: int) -> Tally:
    norm = _norm(architecture.head_norm, width, positions if architecture.head_norm == "batch" else 1)
    classifier = _linear(width, architecture.num_classes, 1) if architecture.num_classes else (0, 0)
    return _total(norm, (0, positions * width), classifier)
