"""Attention as a feed-forward: depthwise kernels stand for keys and values, GELU for the softmax."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, MixerKind, Place
from search_spaces.architecture.knobs import Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, conv_norm, depthwise, total

OPTIONS: Knobs = {"keys": ("3", "7"), "values": ("3", "7")}


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    options = dict(block.options)
    query = conv_norm(width, width, 1, positions)
    return total(query, *(_taps(width, options.get(knob, "3"), positions) for knob in OPTIONS))


def _taps(width: int, kernel: str, positions: int) -> Tally:
    if kernel == "3":
        return depthwise(width, 3, positions)
    branches = (conv_norm(width, width, side, positions, groups=width) for side in (7, 3))
    return total(*branches)


def _searched(place: Place) -> Options:
    """As published: small kernels in the first two stages, large ones behind."""
    kernel = 3 if place.stage < 2 else 7
    return set_knobs(OPTIONS, keys=kernel, values=kernel)


KIND = MixerKind(
    rank=24,
    role=ATTENTION,
    symbol="Ff",
    colour="#fad7a0",
    label="FFNified attention",
    fields=(),
    costs=_costs,
    options=OPTIONS,
    searched=_searched,
    sets=(EFFICIENT,),
)
