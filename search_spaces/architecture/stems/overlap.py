"""One convolution over patches that overlap."""

from search_spaces.architecture.block import StemSpec
from search_spaces.architecture.stems.kind import StemKind
from search_spaces.architecture.tally import Tally, conv, norm, total


def _costs(stem: StemSpec, in_chans: int, image_size: int) -> Tally:
    positions = (image_size // 4) ** 2
    return total(conv(in_chans, stem.width, 7, positions), norm(stem.norm, stem.width, positions))


KIND = StemKind(stride=4, costs=_costs)
