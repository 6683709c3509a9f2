"""Partial attention: PartialNet's, a convolution on a part of the channels and attention on the others."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, conv, linear, norm, total

DIVISION = Integer(first=4, least=2)
ATTENDING_HEADS = Integer(first=4)
KNOBS: Knobs = {"form": ("channel", "self"), "division": DIVISION, "heads": ATTENDING_HEADS}
LARGEST_MAP = 7
"""Side of the largest map on which a search lets all positions meet: that of the published last stage."""


def _convolved(block: BlockSpec, width: int) -> int:
    return width // int(dict(block.options).get("division", DIVISION.first))


def _heads(block: BlockSpec) -> int:
    return int(dict(block.options).get("heads", ATTENDING_HEADS.first))


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    convolved = _convolved(block, width)
    rest = width - convolved
    parts = [conv(convolved, convolved, 3, positions, bias=False)]
    if ("form", "self") in block.options:
        parts += [
            norm("layer", rest, positions),
            linear(rest, 3 * rest, positions, bias=False),
            (81 * _heads(block), 2 * positions * positions * rest),
            linear(rest, rest, positions),
        ]
    else:
        parts += [linear(2 * rest, rest, 1, bias=False), norm("batch", rest, 1), norm("batch", rest, positions)]
    return total(*parts)


def _searched(place: Place) -> Options:
    """Self-attention on the last map of the published networks and smaller ones; as many heads as divide its channels,
    up to the published four."""
    if place.map_size > LARGEST_MAP:
        return ()
    rest = place.width - place.width // DIVISION.first
    heads = next(count for count in (4, 3, 2, 1) if rest % count == 0)
    return set_knobs(KNOBS, form="self", heads=heads)


def _problem(block: BlockSpec, width: int) -> str:
    convolved = _convolved(block, width)
    heads = _heads(block)
    is_self = ("form", "self") in block.options
    if convolved == 0:
        return f"{width} channels and no more than that in a division; expected at least one that is convolved"
    if is_self and (width - convolved) % heads:
        return f"{heads} heads for {width - convolved} channels; expected a divisor"
    if not is_self and "heads" in dict(block.options):
        return "heads of form 'channel'; expected them with form 'self' only"
    return ""


KIND = MixerKind(
    rank=20,
    role=ATTENTION,
    symbol="P",
    colour="#d7bde2",
    label="partial attention",
    fields=(),
    costs=_costs,
    options=KNOBS,
    searched=_searched,
    problem=_problem,
    sets=(EFFICIENT,),
)
