"""Depthwise convolution, with or without ConvNeXt's feed-forward."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import CONV, CORE, EFFICIENT, MixerKind
from search_spaces.architecture.tally import Tally, depthwise, linear, norm, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    parts = [depthwise(width, block.kernel, positions), (width if block.layer_scale else 0, 0)]
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
    sets=(CORE, EFFICIENT),
)
