"""MOAT's two convolutions."""

from search_spaces.architecture.block import StemSpec
from search_spaces.architecture.stems.kind import StemKind
from search_spaces.architecture.tally import Tally, halving_stem


def _costs(stem: StemSpec, in_chans: int, image_size: int) -> Tally:
    return halving_stem(in_chans, stem.width, stem.norm, image_size, bias=True)


KIND = StemKind(stride=2, costs=_costs, norms=("batch_1e-3",))
