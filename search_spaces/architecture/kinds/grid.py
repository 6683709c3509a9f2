"""Grid attention: softmax attention within groups of positions that are spread over the map."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.groups import PARTITION_KNOBS, partition_costs, partition_problem, window_side
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, HEADS, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally

KNOBS: Knobs = {**PARTITION_KNOBS, "interval": Integer(0, least=0)}


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    return partition_costs(block, width, positions, int(dict(block.options).get("interval", 0)))


def _searched(place: Place) -> Options:
    side = window_side(place.map_size)
    return set_knobs(KNOBS, rows=side, columns=side)


KIND = MixerKind(
    rank=8,
    role=ATTENTION,
    symbol="X",
    colour="#f4845f",
    label="grid attention",
    fields=HEADS,
    costs=_costs,
    options=KNOBS,
    searched=_searched,
    problem=partition_problem,
    sets=(EFFICIENT,),
)
