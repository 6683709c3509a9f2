"""Recursive gated convolution: products of ever more channels with what a large kernel makes of the input."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, depthwise, linear, norm, total

KNOBS: Knobs = {"order": Integer(2), "filter": ("local", "global"), "kernel": Integer(7)}
"""kernel: side of the local filter, odd."""


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    options = dict(block.options)
    order = int(options.get("order", 2))
    smallest = width // 2 ** (order - 1)
    filtered = 2 * width - smallest
    if options.get("filter") == "global":
        side = math.isqrt(positions)
        half = filtered // 2
        spectrum = (2 * half * side * (side // 2 + 1), 0)
        norms = norm("layer", filtered, positions)
        around = total(norms, depthwise(half, 3, positions, bias=False), spectrum, norms)
    else:
        around = depthwise(filtered, int(options.get("kernel", 7)), positions)
    lifts = [linear(smallest * 2**step, smallest * 2 ** (step + 1), positions) for step in range(order - 1)]
    return total(linear(width, 2 * width, positions), around, *lifts, linear(width, width, positions))


def _searched(place: Place) -> Options:
    """The published orders 2, 3, 4, 5 by stage, as far as the width can be halved."""
    halvings = (place.width & -place.width).bit_length() - 1
    return set_knobs(KNOBS, order=min(place.stage + 2, halvings + 1))


def _problem(block: BlockSpec, width: int) -> str:
    options = dict(block.options)
    order = int(options.get("order", 2))
    is_global = options.get("filter") == "global"
    # The global filter takes one half of the channels, the local one the other.
    divisor = 2 ** (order - 1) * (2 if is_global else 1)
    if width % divisor:
        return f"order {order} on {width} channels; expected a multiple of {divisor}"
    if is_global and "kernel" in options:
        return f"kernel {options['kernel']}, which the global filter does not use; expected none"
    if int(options.get("kernel", 7)) % 2 == 0:
        return f"kernel {options['kernel']}; expected an odd number"
    return ""


KIND = MixerKind(
    rank=21,
    role=ATTENTION,
    symbol="Gn",
    colour="#73c6b6",
    label="recursive gated convolution",
    fields=(),
    costs=_costs,
    options=KNOBS,
    searched=_searched,
    problem=_problem,
    sets=(EFFICIENT,),
)
