"""What the costs need to know of a head. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.architecture.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadKind:
    """One way from the last map to the classes."""

    costs: Callable[[int, int], Tally]
    """(width, positions) -> parameters and multiply-adds of all but pooling and classifier."""
