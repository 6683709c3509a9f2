"""Halo attention: blocks of queries attend to their own block and the positions around it."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.groups import up_to_multiple, window_side
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, HEADS, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, linear, total

KNOBS: Knobs = {
    "block": Integer(8),
    "halo": Integer(3, least=0),
    "query_dim": Integer(0, least=0),
    "projection": ("none", "linear"),
}


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    options = dict(block.options)
    side = int(options.get("block", 8))
    reach = side + 2 * int(options.get("halo", 3))
    query_dim = int(options.get("query_dim", 0)) or block.head_dim
    queries = block.heads * query_dim
    padded = up_to_multiple(math.isqrt(positions), side) ** 2
    pairs = padded * reach**2
    offsets = (2 * (2 * reach - 1) * query_dim, 2 * padded * reach * queries)
    proj = linear(width, width, positions) if "projection" in options else (0, 0)
    return total(
        linear(width, queries, positions, bias=False),
        linear(width, queries + width, positions, bias=False),
        offsets,
        (0, pairs * (queries + width)),
        proj,
    )


def _searched(place: Place) -> Options:
    """Blocks as the windows', with the halo of 2 that goes with blocks of 7; none around a block that is the map. A
    linear layer behind, as no convolution of a bottleneck follows."""
    side = window_side(place.map_size)
    return set_knobs(KNOBS, block=side, halo=0 if side == place.map_size else 2, projection="linear")


KIND = MixerKind(
    rank=9,
    role=ATTENTION,
    symbol="O",
    colour="#c8b6e2",
    label="halo attention",
    fields=HEADS,
    costs=_costs,
    options=KNOBS,
    searched=_searched,
    sets=(EFFICIENT,),
)
