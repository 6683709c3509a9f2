"""Large kernel attention: a convolution of 23 x 23 weighs its own input."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, MixerKind
from search_spaces.architecture.tally import Tally, depthwise, linear, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    around = linear(width, width, positions)
    local = depthwise(width, 5, positions)
    return total(around, local, depthwise(width, 7, positions), linear(width, width, positions), around)


KIND = MixerKind(
    rank=6,
    role=ATTENTION,
    symbol="L",
    colour="#76d7c4",
    label="large kernel attention",
    fields=(),
    costs=_costs,
    sets=(EFFICIENT,),
)
