"""Two convolutions of stride 2 with nothing between."""

from search_spaces.architecture.block import StemSpec
from search_spaces.architecture.stems.kind import StemKind
from search_spaces.architecture.tally import Tally, conv, norm, total


def _costs(stem: StemSpec, in_chans: int, image_size: int) -> Tally:
    half = stem.width // 2
    positions = (image_size // 4) ** 2
    convs = (conv(in_chans, half, 3, 4 * positions), conv(half, stem.width, 3, positions))
    return total(*convs, norm(stem.norm, stem.width, positions))


KIND = StemKind(stride=4, costs=_costs)
