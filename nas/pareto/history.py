"""How the hypervolume of a front grew with the trainings and with the device time spent: computed from the facts, in
the order in which trials ended, so that it is the same after any number of interruptions and with any number of
workers."""

from collections.abc import Iterable
from dataclasses import dataclass

from nas.pareto.front import FrontKeeper
from nas.records import TrialFacts


@dataclass(frozen=True, slots=True)
class Growth:
    """One trial that made the hypervolume grow, and what had been spent when it ended."""

    trial_number: int
    evaluated: int
    """COMPLETE and PRUNED trials so far, this one included."""
    device_s: float
    """Worker seconds of all trials so far, whatever their outcome; workers that run side by side add up."""
    hypervolume: float
    """Over (top1, ln cost), after this trial."""
    members: int
    """Points of the front, after this trial."""


@dataclass(frozen=True, slots=True)
class History:
    """All of a study so far."""

    growths: tuple[Growth, ...]
    """In the order in which the trials ended."""
    evaluated: int
    device_s: float
    stalled: int
    """COMPLETE and PRUNED trials since the last growth; all of them when there was none."""


def history_of(facts: Iterable[TrialFacts], cost_objective: str, reference_point: tuple[float, float]) -> History:
    """Replay the facts of a study.

    Args:
        facts: all its trials in the order in which they ended (Store.facts).
        cost_objective: latency_ms, macs or param_count.
        reference_point: (top1, cost) of the study.
    """
    keeper = FrontKeeper(cost_objective, reference_point)
    growths = []
    evaluated = 0
    device_s = 0.0
    for trial in facts:
        evaluated += trial.is_counted
        device_s += trial.duration_s
        front = keeper.add(trial)
        if front is not None and keeper.stalled == 0:
            growths.append(Growth(trial.trial_number, evaluated, device_s, front.hypervolume, len(front.members)))
    return History(tuple(growths), evaluated, device_s, keeper.stalled)
