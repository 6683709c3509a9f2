"""Aggregated attention: neighbours and a pooled map in one softmax."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, HEADS, MixerKind, Place
from search_spaces.architecture.kinds.pooled import published_ratio
from search_spaces.architecture.knobs import Integer, Knobs, Options, first_value, set_knobs
from search_spaces.architecture.tally import Tally, conv, linear, norm, total

_OPTIONS: Knobs = {"form": ("aggregated", "cosine"), "ratio": Integer(2), "window": Integer(3)}
_HIDDEN = 512
"""Width of the network that makes the bias of pooled positions."""


def _offsets(size: int, bins: int) -> int:
    """Offsets that occur between the positions of an axis and the centres of its bins, in halves unless the bins are
    equal."""
    step = 2 if size % bins == 0 else 1
    least = -((bins - 1) * size // bins + size - 1)
    most = 2 * (size - 1) - (math.ceil(size / bins) - 1)
    return (most - least) // step + 1


def _bias(block: BlockSpec, size: int, bins: int) -> Tally:
    entries = _offsets(size, bins) ** 2
    return total(linear(2, _HIDDEN, entries), linear(_HIDDEN, block.heads, entries))


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    options = {knob: first_value(values) for knob, values in _OPTIONS.items()} | dict(block.options)
    size = math.isqrt(positions)
    is_cosine = options["form"] == "cosine"
    bins = size if is_cosine else max(1, size // int(options["ratio"]))
    keys = positions if is_cosine else bins**2
    around = linear(width, width, positions)
    pairs = total((width + block.heads, 2 * positions * keys * width), _bias(block, size, bins))
    shared = total(around, linear(width, 2 * width, positions), pairs, around)
    if is_cosine:
        return shared
    taps = int(options["window"]) ** 2
    neighbours = (taps * (width + 2 * block.heads), taps * width * positions)
    # Keys and values of the pooled map come from the same layer: multiply-adds without parameters.
    pooled = total(conv(width, width, 1, positions), (0, width * positions), norm("layer", width, keys))
    return total(shared, neighbours, pooled, (0, linear(width, 2 * width, keys)[1]))


def _problem(block: BlockSpec, width: int) -> str:
    options = dict(block.options)
    if options.get("form") == "cosine" and len(options) > 1:
        given = sorted(options)
        return f"options {given} and the cosine form, which has no ratio and no window; expected the form alone"
    if int(options.get("window", "3")) % 2 == 0:
        return f"a window of {options['window']}; expected an odd number"
    return ""


def _searched(place: Place) -> Options:
    ratio = published_ratio(place.map_size)
    return set_knobs(_OPTIONS, ratio=ratio) if ratio > 1 else set_knobs(_OPTIONS, form="cosine")


KIND = MixerKind(
    rank=12,
    role=ATTENTION,
    symbol="A",
    colour="#f7dc6f",
    label="aggregated attention",
    fields=HEADS,
    costs=_costs,
    options=_OPTIONS,
    searched=_searched,
    problem=_problem,
)
