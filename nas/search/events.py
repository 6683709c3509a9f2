"""What a search tells its caller while it runs.

A caller's function hears each event in the thread of the search, after the facts of the event are recorded. What the
function raises ends the search, whose state is saved.
"""

from collections.abc import Callable
from dataclasses import dataclass

from nas.records import Front, TrialFacts


@dataclass(frozen=True, slots=True)
class TrialFinished:
    """A trial is over and recorded, whatever its outcome."""

    facts: TrialFacts
    evaluated: int
    """Architectures of the study that count towards the budget, this one included."""
    budget: int
    """Architectures that the search is to evaluate in the study."""


@dataclass(frozen=True, slots=True)
class FrontGrew:
    """The last trial changed the front of the study."""

    front: Front


@dataclass(frozen=True, slots=True)
class Step:
    """One line about what the search waits for before its first evaluation: Ray, workers, the calibration."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """One line for people: a retry, a failure, a takeover, a second timing."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The search is over: its last event, unless it ends with an error."""

    reason: str
    """One line for people."""
    complete: bool
    """True when nothing is left to do: the budget is reached, nothing new can be found or patience is out."""


SearchEvent = Step | TrialFinished | FrontGrew | Note | Ended
OnEvent = Callable[[SearchEvent], object]


def ignore(event: SearchEvent) -> None:
    """For a caller who wants to hear nothing."""
