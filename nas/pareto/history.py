"""How the hypervolume of a front grew with the trainings and with the device time spent: computed from the facts, in
the order in which trials ended, so that it is the same after any number of interruptions and with any number of
workers."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass

from nas.pareto.front import FrontKeeper
from nas.records import JSON, StudyRecord, TrialFacts
from nas.tables import text_table
from nas.text import cost_text, duration_text


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


def history_text(history: History, study: StudyRecord) -> str:
    """A line per growth under one line about the study, and a line on what came after the last growth."""
    top1, cost = study.reference_point
    head = (
        f"{study.name}: hypervolume against top1 {top1:.4f} and {cost_text(study.objectives[1], cost)}, at each growth"
    )
    rows = [
        (
            str(step.evaluated),
            duration_text(step.device_s),
            f"{step.hypervolume:.4f}",
            str(step.members),
            str(step.trial_number),
        )
        for step in history.growths
    ]
    table = text_table(("evaluated", "device time", "hypervolume", "front", "trial"), rows, right=5)
    spent = f"{history.evaluated} evaluated in {duration_text(history.device_s)} of device time"
    return f"{head}\n{table}\n{spent}; no growth in the last {history.stalled}"


def history_json(history: History, study: StudyRecord) -> str:
    """The history as one JSON object, durations in seconds."""
    described: JSON = {
        "study": study.name,
        "objectives": list(study.objectives),
        "reference_point": list(study.reference_point),
    }
    return json.dumps(described | dataclasses.asdict(history), indent=2, allow_nan=False, ensure_ascii=False)


def history_csv(history: History) -> str:
    """The growths as CSV with a header line, durations in seconds."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[field.name for field in dataclasses.fields(Growth)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(step) for step in history.growths)
    return text.getvalue()
