"""See large, focus small: a large kernel says how a small one weighs the neighbours."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, conv, conv_norm, norm, total

KNOBS: Knobs = {"kernel": Integer(7), "small": Integer(3), "groups": Integer(8)}
"""kernel: side of what is read; small: side of what is weighed; both odd. groups: channels with the same weights."""


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    options = dict(block.options)
    half = width // 2
    weights = int(options.get("small", 3)) ** 2 * (width // int(options.get("groups", 8)))
    return total(
        conv_norm(width, half, 1, positions),
        conv_norm(half, half, int(options.get("kernel", 7)), positions, groups=half),
        conv_norm(half, half, 1, positions),
        conv(half, weights, 1, positions),
        norm("layer", weights, positions),
        norm("batch", width, positions),
    )


def _searched(place: Place) -> Options:
    """The published 8 channels with the same weights, fewer where 8 does not divide the width."""
    return set_knobs(KNOBS, groups=math.gcd(8, place.width))


def _problem(block: BlockSpec, width: int) -> str:
    options = dict(block.options)
    groups = int(options.get("groups", 8))
    if width % groups or width % 2:
        return f"{groups} groups and {width} channels; expected an even number of channels that they divide"
    even = [name for name in ("kernel", "small") if int(options.get(name, 1)) % 2 == 0]
    return f"{even[0]} {options[even[0]]}; expected an odd number" if even else ""


KIND = MixerKind(
    rank=22,
    role=ATTENTION,
    symbol="Ls",
    colour="#abebc6",
    label="large and small kernels",
    fields=(),
    costs=_costs,
    options=KNOBS,
    searched=_searched,
    problem=_problem,
    sets=(EFFICIENT,),
)
