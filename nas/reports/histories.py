"""The history of a study as text, JSON and CSV. Pure functions over nas.pareto.history.History."""

import dataclasses

from nas.pareto.history import Growth, History
from nas.records import JSON, StudyRecord
from nas.text import cost_text, csv_text, duration_text, json_text, text_table


def history_text(history: History, study: StudyRecord) -> str:
    """A line per growth under one line about the study, and a line on what came after the last growth."""
    top1, cost = study.reference_point
    head = (
        f"{study.name}: hypervolume against top1 {top1:.4f} and {cost_text(study.cost_objective, cost)}, at each growth"
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
    return json_text(history_values(history, study))


def history_values(history: History, study: StudyRecord) -> JSON:
    """What history_json writes."""
    described: JSON = {
        "study": study.name,
        "objectives": list(study.objectives),
        "reference_point": list(study.reference_point),
    }
    return described | dataclasses.asdict(history)


def history_csv(history: History) -> str:
    """The growths as CSV with a header line, durations in seconds."""
    columns = [field.name for field in dataclasses.fields(Growth)]
    return csv_text(columns, map(dataclasses.asdict, history.growths))
