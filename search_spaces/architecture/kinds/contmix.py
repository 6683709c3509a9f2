"""Context mixing: every position makes kernels from its affinity to a 7 x 7 summary of the map."""

from math import isqrt

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, HEADS, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, conv_norm, linear, norm, total

CONTEXT = 49
"""Positions of the summary."""
BRANCHES = {
    7: (5, 3, 3, 3),
    5: (3, 3),
    9: (5, 7, 5, 3, 3),
    11: (5, 7, 5, 3, 3, 3),
    13: (5, 7, 7, 3, 3, 3),
    15: (5, 7, 7, 3, 3, 3),
    17: (5, 7, 9, 3, 3, 3),
    19: (5, 7, 9, 9, 3, 3, 3),
}
"""Side of the large kernel -> sides of those beside it."""
OPTIONS: Knobs = {"kernel": tuple(str(kernel) for kernel in BRANCHES), "small": Integer(5)}
LARGE_MAPS = ((56, 17), (28, 15), (13, 13))
"""Side from which on a published stage has the kernel; below the last it has 7."""


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    kernel = _sides(block)[0]
    squeeze = max(16, width // 8)
    beside = (conv_norm(width, width, side, positions, groups=width) for side in (kernel, *BRANCHES[kernel]))
    return total(
        _kernels_costs(block, width, max(positions, kernel**2)),
        (0, _resizing_macs(width, positions, kernel)),
        *(conv_norm(width, width, 1, positions) for _ in ("fuse", "gate")),
        *beside,
        norm("batch", width, positions),
        linear(width, squeeze, 1),
        linear(squeeze, width, 1),
        norm("batch", width, positions),
        linear(width, width, positions),
    )


def _kernels_costs(block: BlockSpec, width: int, positions: int) -> Tally:
    """The dynamic kernels and what they do to the values."""
    kernel, small = _sides(block)
    taps = kernel**2 + small**2
    half = width // 2
    table = block.heads * ((2 * kernel - 1) ** 2 + (2 * small - 1) ** 2)
    params, macs = linear(CONTEXT, taps, positions)
    return total(
        conv_norm(width, half, 1, positions),
        (0, positions * width),
        conv_norm(width, half, 1, CONTEXT),
        conv_norm(width, width, 1, positions),
        (0, positions * half * CONTEXT),
        (params, block.heads * macs),
        (table, positions * half * taps),
    )


def _resizing_macs(width: int, positions: int, kernel: int) -> int:
    """Of a square map that is smaller than the kernel: four per interpolated position, one per averaged."""
    return 5 * width * kernel**2 if isqrt(positions) < kernel else 0


def _sides(block: BlockSpec) -> tuple[int, int]:
    options = dict(block.options)
    return int(options.get("kernel", 7)), int(options.get("small", 5))


def _searched(place: Place) -> Options:
    """The kernels that are published for maps of this size."""
    kernel = next((kernel for side, kernel in LARGE_MAPS if place.map_size >= side), 7)
    return set_knobs(OPTIONS, kernel=kernel)


def _problem(block: BlockSpec, width: int) -> str:
    kernel, small = _sides(block)
    if block.head_dim % 2:
        return f"head_dim {block.head_dim} with contmix, which halves it; expected an even number"
    if small % 2 == 0 or small > kernel:
        return f"the knob small as {small}; expected an odd number of at most {kernel}"
    return ""


KIND = MixerKind(
    rank=26,
    role=ATTENTION,
    symbol="Cm",
    colour="#d7ccc8",
    label="context mixing",
    fields=HEADS,
    costs=_costs,
    options=OPTIONS,
    searched=_searched,
    problem=_problem,
)
