"""MBConv: a mobile inverted bottleneck."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import CONV, CORE, EFFICIENT, MixerKind
from search_spaces.architecture.tally import Tally, inverted_bottleneck, pre_norm_bottleneck, squeeze_width


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    if block.conv_options:
        squeeze = squeeze_width(width, block.se_ratio)
        return pre_norm_bottleneck(width, width, positions, block.kernel, block.conv_ratio, squeeze)
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
    options={"form": ("inverted", "coatnet", "moat", "maxvit")},
    sets=(CORE, EFFICIENT),
)
