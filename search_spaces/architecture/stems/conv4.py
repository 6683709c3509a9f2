"""Four convolutions, the first and the last of stride 2."""

from search_spaces.architecture.block import StemSpec
from search_spaces.architecture.stems.kind import StemKind
from search_spaces.architecture.tally import Tally, conv, norm, total


def _costs(stem: StemSpec, in_chans: int, image_size: int) -> Tally:
    widths = (in_chans, stem.width, stem.width // 2, stem.width, stem.width)
    found: list[Tally] = []
    for before, after, stride in zip(widths[:-1], widths[1:], (2, 2, 2, 4), strict=True):
        positions = (image_size // stride) ** 2
        found += [conv(before, after, 3, positions, bias=False), norm(stem.norm, after, positions)]
    return total(*found)


KIND = StemKind(stride=4, costs=_costs)
