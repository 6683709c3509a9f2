"""What the costs need to know of a downsampling. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.architecture.tally import Tally


def _no_problem(in_width: int, width: int, stride: int) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownsampleKind:
    """One way to change width and resolution between stages."""

    costs: Callable[[int, int, int, int], Tally]
    """(width before, width, stride, side of the map behind it) -> parameters and multiply-adds."""
    rounds_up: bool = False
    """Whether a side that the stride does not divide is rounded up, so that an image may have one."""
    problem: Callable[[int, int, int], str] = _no_problem
    """(width before, width, stride) -> what keeps it from being built, and what is expected; "" for nothing."""
