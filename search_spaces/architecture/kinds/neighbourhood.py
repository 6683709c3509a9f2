"""Neighbourhood attention: every position attends to the equally many positions around it."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, HEADS, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, linear, total

KNOBS: Knobs = {"kernel": Integer(7), "dilation": Integer(1), "bias": ("table", "none")}


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    options = dict(block.options)
    kernel = int(options.get("kernel", 7))
    dilation = int(options.get("dilation", 1))
    line = -(-max(math.isqrt(positions), kernel * dilation) // dilation)
    tiles = -(-line // kernel)
    side = -(-line // tiles)
    reach = min(side + kernel - 1, line)
    table = 0 if "bias" in options else block.heads * (2 * kernel - 1) ** 2
    products = 2 * (dilation * tiles * side * reach) ** 2 * width
    padded = (line * dilation) ** 2
    return total(linear(width, 3 * width, padded), (table, products), linear(width, width, positions))


def _searched(place: Place) -> Options:
    """7, as published, or the whole side of a smaller map."""
    return set_knobs(KNOBS, kernel=min(7, place.map_size))


KIND = MixerKind(
    rank=10,
    role=ATTENTION,
    symbol="N",
    colour="#f2d16b",
    label="neighbourhood attention",
    fields=HEADS,
    costs=_costs,
    options=KNOBS,
    searched=_searched,
    sets=(EFFICIENT,),
)
