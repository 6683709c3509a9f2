"""Window attention: softmax attention within windows of neighbouring positions."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.groups import PARTITION_KNOBS, partition_costs, partition_problem, window_side
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, HEADS, MixerKind, Place
from search_spaces.architecture.knobs import Options, set_knobs
from search_spaces.architecture.tally import Tally


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    return partition_costs(block, width, positions, interval=1)


def _searched(place: Place) -> Options:
    side = window_side(place.map_size)
    return set_knobs(PARTITION_KNOBS, rows=side, columns=side)


KIND = MixerKind(
    rank=7,
    role=ATTENTION,
    symbol="W",
    colour="#f7b267",
    label="window attention",
    fields=HEADS,
    costs=_costs,
    options=PARTITION_KNOBS,
    searched=_searched,
    problem=partition_problem,
    sets=(EFFICIENT,),
)
