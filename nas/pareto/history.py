"""How the hypervolume of a front grew with the trainings and with the device time spent: computed from the facts, in
the order in which trials ended, so that it is the same after any number of interruptions and with any number of
workers."""

from collections.abc import Iterable
from dataclasses import dataclass

from nas.pareto.front import FrontKeeper
from nas.records import Outcome


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


class HistoryKeeper:
    """The history of a study, trial by trial in the order in which they ended."""

    def __init__(self, cost_objective: str, reference_point: tuple[float, float]) -> None:
        """Nothing has ended yet.

        Args:
            cost_objective: latency_ms, macs or param_count.
            reference_point: (top1, cost) of the study.
        """
        self._front = FrontKeeper(cost_objective, reference_point)
        self._growths: list[Growth] = []
        self._evaluated = 0
        self._device_s = 0.0

    @property
    def history(self) -> History:
        """What has happened so far."""
        return History(tuple(self._growths), self._evaluated, self._device_s, self._front.stalled)

    def add(self, trial: Outcome) -> None:
        """Take in the next trial."""
        self._evaluated += trial.is_counted
        self._device_s += trial.duration_s
        front = self._front.add(trial)
        if front is not None and self._front.stalled == 0:
            number = trial.trial_number
            growth = Growth(number, self._evaluated, self._device_s, front.hypervolume, len(front.members))
            self._growths.append(growth)


def history_of(facts: Iterable[Outcome], cost_objective: str, reference_point: tuple[float, float]) -> History:
    """Replay the facts of a study.

    Args:
        facts: all its trials in the order in which they ended (Store.facts).
        cost_objective: latency_ms, macs or param_count.
        reference_point: (top1, cost) of the study.
    """
    keeper = HistoryKeeper(cost_objective, reference_point)
    for trial in facts:
        keeper.add(trial)
    return keeper.history
