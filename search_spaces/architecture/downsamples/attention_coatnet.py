"""The first attention of a stage of CoAtNet's."""

import math

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally, full_attention, norm, pooled_shortcut, relative_table, total


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    positions = size * size
    heads = width // math.gcd(32, width)
    return total(
        norm("layer", in_width, positions * stride**2),
        (relative_table(heads, positions), 0),
        full_attention(in_width, width, positions),
        pooled_shortcut(in_width, width, positions),
    )


KIND = DownsampleKind(costs=_costs)
