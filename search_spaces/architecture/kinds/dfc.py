"""GhostNetV2's module: cheap features, weighed by a gate that sees rows and columns of the halved map."""

from math import isqrt

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, MixerKind
from search_spaces.architecture.tally import Tally, conv_norm, norm, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    half = (width + 1) // 2
    halved = max(1, isqrt(positions) // 2) ** 2
    line = total((5 * width, 5 * width * halved), norm("batch", width, halved))
    return total(
        conv_norm(width, half, 1, positions),
        conv_norm(half, half, 3, positions, groups=half),
        conv_norm(width, width, 1, halved),
        line,
        line,
        (0, width * positions),
    )


KIND = MixerKind(
    rank=27,
    role=ATTENTION,
    symbol="Gh",
    colour="#cfd8dc",
    label="decoupled gate",
    fields=(),
    costs=_costs,
    sets=(EFFICIENT,),
)
