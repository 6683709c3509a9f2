"""Additive attention: CAS-ViT's, without any pair of positions."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, MixerKind
from search_spaces.architecture.tally import Tally, depthwise, linear, norm, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    local = depthwise(width, 3, positions)
    gate = (
        local,
        norm("batch", width, positions),
        linear(width, 1, positions, bias=False),
        linear(width, width, 1, bias=False),
    )
    return total(linear(width, 3 * width, positions, bias=False), *gate, *gate, local, local)


KIND = MixerKind(
    rank=17,
    role=ATTENTION,
    symbol="Ad",
    colour="#f0b27a",
    label="additive attention",
    fields=(),
    costs=_costs,
    sets=(EFFICIENT,),
)
