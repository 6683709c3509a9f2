"""MBConv: a mobile inverted bottleneck."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import CONV, CORE, EFFICIENT, MixerKind
from search_spaces.architecture.tally import Tally, inverted_bottleneck


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    return inverted_bottleneck(
        width, block.conv_ratio * width, width, block.kernel, positions, squeeze=round(width * block.se_ratio)
    )


KIND = MixerKind(
    rank=0,
    role=CONV,
    symbol="M",
    colour="#7fb3d5",
    label="MBConv",
    fields=("kernel", "conv_ratio", "se_ratio"),
    costs=_costs,
    sets=(CORE, EFFICIENT),
)
