"""Three convolutions of stride 2."""

from itertools import pairwise

from search_spaces.architecture.block import StemSpec
from search_spaces.architecture.stems.kind import StemKind
from search_spaces.architecture.tally import Tally, conv_norm, total


def _costs(stem: StemSpec, in_chans: int, image_size: int) -> Tally:
    widths = (in_chans, stem.width // 4, stem.width // 2, stem.width)
    steps = enumerate(pairwise(widths), start=1)
    return total(*(conv_norm(before, after, 3, (image_size >> step) ** 2) for step, (before, after) in steps))


KIND = StemKind(stride=8, costs=_costs, norms=("batch",))
