"""Depthwise convolution, with or without ConvNeXt's feed-forward."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import CONV, CORE, EFFICIENT, MixerKind
from search_spaces.architecture.tally import Tally, depthwise, linear, norm, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    has_norm = bool(dict(block.conv_options).get("norm"))
    parts = [depthwise(width, block.kernel, positions, bias=not has_norm), (width if block.layer_scale else 0, 0)]
    if has_norm:
        parts.append(norm("batch", width, positions))
    if block.conv_ratio:
        hidden = block.conv_ratio * width
        parts += [norm("layer", width, positions), linear(width, hidden, positions), linear(hidden, width, positions)]
    return total(*parts)


KIND = MixerKind(
    rank=1,
    role=CONV,
    symbol="D",
    colour="#a9cce3",
    label="depthwise convolution",
    fields=("kernel", "conv_ratio", "layer_scale"),
    costs=_costs,
    options={"norm": ("none", "batch", "batch_zero")},
    sets=(CORE, EFFICIENT),
)
