"""Inception mixer: iFormer's, with convolution, maximum and attention side by side."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, HEADS, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Options, set_knobs
from search_spaces.architecture.tally import Tally, conv, depthwise, linear, total

KNOBS = {"attended": Integer(first=33), "pool": Integer(first=2)}
SHARES = (33, 50, 80, 92)
"""Percent of the heads that attend, by stage: 1 of 3, 3 of 6, 7 to 9 of 10, 11 of 12 in iFormer-S."""


def _knobs(block: BlockSpec) -> tuple[int, int]:
    """Width of the heads that attend; and the side of a cell."""
    options = dict(block.options)
    share = int(options.get("attended", KNOBS["attended"].first))
    heads = max(1, round(block.heads * share / 100))
    return heads * block.head_dim, int(options.get("pool", KNOBS["pool"].first))


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    low, pool = _knobs(block)
    high = width - low
    side = math.isqrt(positions)
    cells = math.ceil(side / pool) ** 2
    joined = low + 2 * high
    parts = [
        linear(low, 3 * low, cells),
        (0, 2 * cells * cells * low),
        (0, low * cells * pool**2 if pool > 1 else 0),
        depthwise(joined, 3, positions, bias=False),
        linear(joined, width, positions),
    ]
    if high:
        parts += [
            conv(high // 2, high, 1, positions, bias=False),
            depthwise(high, 3, positions, bias=False),
            conv(high // 2, high, 1, positions),
        ]
    return total(*parts)


def _searched(place: Place) -> Options:
    """As published by stage: more heads attend with depth, and cells of 2 x 2 in the first two stages."""
    return set_knobs(KNOBS, attended=SHARES[place.stage], pool=2 if place.stage < 2 else 1)


def _problem(block: BlockSpec, width: int) -> str:
    low, _ = _knobs(block)
    if low > width or (width - low) % 2:
        return f"{low} of {width} channels that attend; expected an even number of others"
    return ""


KIND = MixerKind(
    rank=19,
    role=ATTENTION,
    symbol="I",
    colour="#aed6f1",
    label="inception mixer",
    fields=HEADS,
    costs=_costs,
    options=KNOBS,
    searched=_searched,
    problem=_problem,
    is_quadratic=True,
)
