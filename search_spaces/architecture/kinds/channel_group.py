"""Channel-group attention: over channels within each head."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, HEADS, MixerKind
from search_spaces.architecture.tally import Tally, linear, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    products = 2 * positions * width * block.head_dim
    return total(linear(width, 3 * width, positions), (0, products), linear(width, width, positions))


KIND = MixerKind(
    rank=5,
    role=ATTENTION,
    symbol="C",
    colour="#bb8fce",
    label="channel-group attention",
    fields=HEADS,
    costs=_costs,
    options={"form": ("scaled", "released")},
    sets=(EFFICIENT,),
)
