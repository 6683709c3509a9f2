"""Linear attention with ReLU features."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.concentration import concentration
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, HEADS, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, linear, total

KNOBS: Knobs = {"floor": Integer(100), "local": ("none", "concentration")}


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    products = positions * width * (2 * block.head_dim + 1)
    local = concentration(width, 7, positions) if ("local", "concentration") in block.options else (0, 0)
    around = (linear(width, 3 * width, positions), linear(width, width, positions))
    return total(*around, (block.heads, products), local)


def _searched(place: Place) -> Options:
    """With the published floor of 100 the sums of a small map stay below it, and the branch begins near zero."""
    return set_knobs(KNOBS, floor=1, local="concentration")


KIND = MixerKind(
    rank=16,
    role=ATTENTION,
    symbol="Li",
    colour="#f9e79f",
    label="linear attention",
    fields=HEADS,
    costs=_costs,
    options=KNOBS,
    searched=_searched,
    sets=(EFFICIENT,),
)
