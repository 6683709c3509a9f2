"""Attention as a feed-forward: depthwise kernels stand for keys and values, GELU for the softmax."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, conv_norm, depthwise, total

OPTIONS: Knobs = {"keys": Integer(3), "values": Integer(3)}


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    taps = (_taps(width, kernel, positions) for kernel in _sides(block))
    return total(conv_norm(width, width, 1, positions), *taps)


def _taps(width: int, kernel: int, positions: int) -> Tally:
    if kernel != 7:
        return depthwise(width, kernel, positions)
    branches = (conv_norm(width, width, side, positions, groups=width) for side in (7, 3))
    return total(*branches)


def _problem(block: BlockSpec, width: int) -> str:
    even = [kernel for kernel in _sides(block) if kernel % 2 == 0]
    return f"the knobs keys and values as {even}; expected odd numbers" if even else ""


def _sides(block: BlockSpec) -> list[int]:
    options = dict(block.options)
    return [int(options.get(knob, 3)) for knob in OPTIONS]


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
    problem=_problem,
    sets=(EFFICIENT,),
)
