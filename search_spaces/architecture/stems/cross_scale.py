"""Convolutions over patches of four sizes."""

from search_spaces.architecture.block import StemSpec
from search_spaces.architecture.stems.kind import StemKind
from search_spaces.architecture.tally import Tally, cross_scale, norm, total


def _costs(stem: StemSpec, in_chans: int, image_size: int) -> Tally:
    positions = (image_size // 4) ** 2
    convs = cross_scale(in_chans, stem.width, (4, 8, 16, 32), positions)
    return total(convs, norm(stem.norm, stem.width, positions))


KIND = StemKind(stride=4, costs=_costs)
