"""No change of width or resolution: the blocks take what the stem gives."""

from search_spaces.architecture.downsamples.kind import DownsampleKind
from search_spaces.architecture.tally import Tally


def _costs(in_width: int, width: int, stride: int, size: int) -> Tally:
    return 0, 0


KIND = DownsampleKind(costs=_costs)
