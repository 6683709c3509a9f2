"""Two convolutions of stride 2."""

from search_spaces.architecture.block import StemSpec
from search_spaces.architecture.stems.kind import StemKind
from search_spaces.architecture.tally import Tally, conv, norm, total


def _costs(stem: StemSpec, in_chans: int, image_size: int) -> Tally:
    half = stem.width // 2
    between = (image_size // 2) ** 2
    after = (image_size // 4) ** 2
    first = (conv(in_chans, half, 3, between), norm(stem.norm, half, between))
    return total(*first, conv(half, stem.width, 3, after), norm(stem.norm, stem.width, after))


KIND = StemKind(stride=4, costs=_costs)
