"""Which members of a front keep their place when they are timed once more, together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np

from nas.pareto.front import as_losses, dominates
from nas.records import JSON, Front, Latency, Retiming, TrialFacts


@dataclass(frozen=True, slots=True)
class Place:
    """A member of a front and its two timings."""

    trial_number: int
    top1: float
    first: Latency
    second: Latency
    rival: "Place | None" = None
    """By the second timings this member is as good in both, and better in one; None when no member is."""

    @property
    def change(self) -> float:
        """Relative change of the median from the first timing to the second."""
        return self.second.median_ms / self.first.median_ms - 1

    @property
    def is_lost(self) -> bool:
        """Whether the rival is faster beyond both intervals. They speak of other sittings, and these two are of one:
        that is cautious."""
        return self.rival is not None and self.rival.second.ci_high_ms < self.second.ci_low_ms


def latest(retimings: Sequence[Retiming], target: JSON | None) -> Retiming | None:
    """The last sitting on a target (a whole fingerprint)."""
    return next((retiming for retiming in reversed(retimings) if retiming.target == target), None)


def places(front: Front, facts: Iterable[TrialFacts], retiming: Retiming | None) -> tuple[Place, ...]:
    """The members of a front that have a second timing, by ascending cost.

    Trials beside the front were not timed again, so none of them can take a place.

    Args:
        front: of latencies on the target of the retiming.
        facts: its members, and others or not.
        retiming: None where nothing was timed again.
    """
    seconds = retiming.latencies if retiming else {}
    firsts = {trial.trial_number: trial.latency for trial in facts}
    timed = [
        Place(member.trial_number, member.top1, first, seconds[member.trial_number])
        for member in front.members
        if member.trial_number in seconds and (first := firsts[member.trial_number]) is not None
    ]
    losses = as_losses((place.top1, place.second.median_ms) for place in timed)
    return tuple(
        replace(place, rival=_first_of(timed, dominates(losses, loss)))
        for place, loss in zip(timed, losses, strict=True)
    )


def _first_of(timed: Sequence[Place], are_rivals: np.ndarray) -> Place | None:
    """The one of the marked places whose second interval ends first."""
    return min(compress(timed, are_rivals), key=lambda rival: rival.second.ci_high_ms, default=None)
