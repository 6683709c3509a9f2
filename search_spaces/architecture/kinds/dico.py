"""Convolution with compact channel attention."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, MixerKind
from search_spaces.architecture.tally import Tally, depthwise, linear, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    layer = linear(width, width, positions)
    return total(layer, depthwise(width, 3, positions), linear(width, width, 1), layer)


KIND = MixerKind(
    rank=25,
    role=ATTENTION,
    symbol="Cc",
    colour="#edbb99",
    label="compact channel attention",
    fields=(),
    costs=_costs,
    sets=(EFFICIENT,),
)
