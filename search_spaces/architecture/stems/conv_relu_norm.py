"""Two convolutions of stride 2 with ReLU between, and LayerNorm behind."""

from search_spaces.architecture.block import StemSpec
from search_spaces.architecture.stems import conv
from search_spaces.architecture.stems.kind import StemKind
from search_spaces.architecture.tally import Tally, norm, total


def _costs(stem: StemSpec, in_chans: int, image_size: int) -> Tally:
    positions = (image_size // 4) ** 2
    return total(conv.KIND.costs(stem, in_chans, image_size), norm("layer", stem.width, positions))


KIND = StemKind(stride=4, costs=_costs)
