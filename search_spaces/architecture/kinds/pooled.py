"""Attention whose keys and values are read from a pooled map."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, HEADS, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, first_value, set_knobs
from search_spaces.architecture.tally import Tally, conv, linear, norm, total

KEYS_SIDE = 7
"""Side of the pooled map at 224 pixels, in every stage of PVTv2, Next-ViT and TransNeXt."""
_OPTIONS: Knobs = {
    "form": ("convolved", "averaged", "raster"),
    "ratio": Integer(1),
    "pool": Integer(KEYS_SIDE),
}


def published_ratio(map_size: int) -> int:
    """8, 4, 2, 1 at 224 pixels: so that about 7 x 7 keys are left at any size."""
    return max(1, map_size // KEYS_SIDE)


def _pool(block: BlockSpec, width: int, positions: int) -> tuple[int, Tally]:
    """Number of keys, and what making them costs."""
    options = {knob: first_value(values) for knob, values in _OPTIONS.items()} | dict(block.options)
    ratio = int(options["ratio"])
    if options["form"] == "averaged":
        keys = int(options["pool"]) ** 2
        return keys, total((0, positions * width), conv(width, width, 1, keys), norm("layer", width, keys))
    if ratio == 1:
        return positions, (0, 0)
    if options["form"] == "raster":
        keys = max(1, positions // ratio**2)
        return keys, norm("batch", width, keys)
    keys = max(1, math.isqrt(positions) // ratio) ** 2
    return keys, total(conv(width, width, ratio, keys), norm("layer", width, keys))


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    keys, pool = _pool(block, width, positions)
    around = linear(width, width, positions)
    return total(around, pool, linear(width, 2 * width, keys), (0, 2 * positions * keys * width), around)


def _problem(block: BlockSpec, width: int) -> str:
    """Knobs without influence would give one network two specs."""
    options = dict(block.options)
    form = options.get("form", "convolved")
    unread = "ratio" if form == "averaged" else "pool"
    if unread in options:
        return f"option {unread} and the form {form!r} of pooled attention, which does not read it; expected none"
    if form == "raster" and "ratio" not in options:
        return "the form 'raster' of pooled attention without a ratio; expected the form 'convolved', which is the same"
    return ""


def _searched(place: Place) -> Options:
    return set_knobs(_OPTIONS, ratio=published_ratio(place.map_size))


KIND = MixerKind(
    rank=11,
    role=ATTENTION,
    symbol="P",
    colour="#85c1e9",
    label="pooled attention",
    fields=HEADS,
    costs=_costs,
    options=_OPTIONS,
    searched=_searched,
    problem=_problem,
    sets=(EFFICIENT,),
)
