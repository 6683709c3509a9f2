"""Bi-level routing attention: regions attend to the regions that resemble them."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, HEADS, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, depthwise, linear, total

KNOBS: Knobs = {
    "regions": Integer(7),
    "topk": Integer(4),
    "scope": ("routed", "whole"),
    "pad": ("input", "projected"),
    "kernel": Integer(5),
}
TOPK = (1, 4, 16)
"""Regions that one reads in the first stages, as published; the later ones attend to the whole map."""


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    options = dict(block.options)
    kernel = int(options.get("kernel", 5))
    projection = linear(width, width, positions)
    if options.get("scope") == "whole":
        products = 2 * positions * positions * width
        around = depthwise(width, kernel, positions)
        return total(linear(width, 3 * width, positions, bias=False), (0, products), around, projection)
    regions = int(options.get("regions", 7))
    side = math.isqrt(positions)
    if options.get("pad") != "projected":
        side = -(-side // regions) * regions
    region = max(1, side // regions)
    count = -(-side // region)
    read = min(int(options.get("topk", 4)), count**2) * region**2
    products = count**4 * width + 2 * (count * region) ** 2 * read * width
    around = depthwise(width, kernel, side * side)
    return total(linear(width, 3 * width, side * side), (0, products), around, projection)


def _searched(place: Place) -> Options:
    """Published: 7 regions a side; 1, 4, 16 of them by stage, then the whole map. Here as many regions as divide the
    side, so that nothing is padded."""
    if place.stage >= len(TOPK):
        return set_knobs(KNOBS, scope="whole")
    regions = max(side for side in range(1, 8) if place.map_size % side == 0)
    return set_knobs(KNOBS, regions=regions, topk=min(TOPK[place.stage], regions**2))


def _problem(block: BlockSpec, width: int) -> str:
    options = dict(block.options)
    regions = int(options.get("regions", 7))
    topk = int(options.get("topk", 4))
    kernel = int(options.get("kernel", 5))
    if options.get("scope") == "whole" and {"regions", "topk", "pad"} & options.keys():
        return f"options {sorted(options)} of bra; expected no regions, topk or pad with scope 'whole'"
    if topk > regions**2:
        return f"topk {topk} of {regions}x{regions} regions of bra; expected at most {regions**2}"
    return "" if kernel % 2 else f"kernel {kernel} of bra; expected an odd number"


KIND = MixerKind(
    rank=13,
    role=ATTENTION,
    symbol="B",
    colour="#d2b4de",
    label="bi-level routing attention",
    fields=HEADS,
    costs=_costs,
    options=KNOBS,
    searched=_searched,
    problem=_problem,
)
