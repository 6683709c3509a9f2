"""What the costs need to know of a stem. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.architecture.block import StemSpec
from search_spaces.architecture.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class StemKind:
    """One way from an image to the first map."""

    stride: int
    """Side of an image divided by that of the map."""
    costs: Callable[[StemSpec, int, int], Tally]
    """(stem, image channels, side of the image) -> parameters and multiply-adds."""
    norms: tuple[str, ...] = ("batch", "layer", "layer_1e-5")
    """What `norm` of the spec may be."""
