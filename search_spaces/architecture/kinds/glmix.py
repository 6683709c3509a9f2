"""GLMix: attention among soft clusters of positions, beside convolutions."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, HEADS, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, depthwise, linear, total

KNOBS: Knobs = {"slots": Integer(64), "kernel": Integer(5)}


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    options = dict(block.options)
    slots = int(options.get("slots", 64))
    pooling = positions * width
    attended = total(linear(width, 3 * width, slots), (1, 2 * slots * slots * width), linear(width, width, slots))
    around = linear(width, width, positions)
    local = total(around, depthwise(width, int(options.get("kernel", 5)), positions), around)
    return total((0, pooling + 3 * slots * positions * width), attended, local)


def _searched(place: Place) -> Options:
    """Eight slots a side as published, or as many as the map has positions."""
    return set_knobs(KNOBS, slots=min(8, place.map_size) ** 2)


def _problem(block: BlockSpec, width: int) -> str:
    options = dict(block.options)
    slots = int(options.get("slots", 64))
    kernel = int(options.get("kernel", 5))
    if math.isqrt(slots) ** 2 != slots:
        return f"{slots} slots of glmix; expected a square number"
    return "" if kernel % 2 else f"kernel {kernel} of glmix; expected an odd number"


KIND = MixerKind(
    rank=14,
    role=ATTENTION,
    symbol="Gm",
    colour="#a2d9ce",
    label="GLMix",
    fields=HEADS,
    costs=_costs,
    options=KNOBS,
    searched=_searched,
    problem=_problem,
    sets=(EFFICIENT,),
)
