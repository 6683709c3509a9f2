"""Final fronts as tables, JSON and CSV. Pure functions over records."""

from collections.abc import Mapping
from dataclasses import asdict

from nas.records import JSON, FinalFront, Finalist, FullTraining, StudyRecord, TrialFacts
from nas.reports.fronts import snapshot_values
from nas.text import cost_text, csv_text, json_text, text_table, utc_text


def final_front_text(front: FinalFront, facts: Mapping[int, TrialFacts], study: StudyRecord) -> str:
    """All finalists as an aligned table under one line about it, those on the front marked."""
    objective = study.cost_objective
    head = (
        f"{study.name}: {len(front.members)} of {len(front.finalists)} finalists on the final front, version "
        f"{front.version} of {utc_text(front.created)}, top1 on {front.split}"
    )
    columns = (
        "trial",
        "top1 (95 % interval)",
        "std",
        "seeds",
        f"{objective} (95 % interval)",
        "P(front)",
        "",
        "layout",
    )
    rows = [
        (
            str(finalist.trial_number),
            interval_text(finalist.top1, finalist.top1_low, finalist.top1_high),
            f"{finalist.top1_std:.4f}",
            str(len(finalist.seeds)),
            final_cost_text(finalist, objective),
            f"{finalist.front_probability:.2f}",
            "front" if finalist.on_front else "",
            facts[finalist.trial_number].layout,
        )
        for finalist in front.finalists
    ]
    return head + "\n" + text_table(columns, rows, right=6)


def full_training_text(full: FullTraining) -> str:
    """Which training the weights are of, and what all trainings of the finalist reach."""
    finalist = full.finalist
    mean = (
        f"{full.split} top1 {interval_text(finalist.top1, finalist.top1_low, finalist.top1_high)} over "
        f"{len(finalist.seeds)} seeds"
    )
    return f"{mean}, weights of seed {full.training.seed}"


def interval_text(value: float, low: float, high: float) -> str:
    """A fraction with its interval: "0.9812 (0.9790 to 0.9834)"."""
    return f"{value:.4f} ({low:.4f} to {high:.4f})"


def final_cost_text(finalist: Finalist, objective: str) -> str:
    """A cost, with the interval of one that was measured."""
    text = cost_text(objective, finalist.cost)
    if finalist.cost_low == finalist.cost_high:
        return text
    return (
        f"{text} ({cost_text(objective, finalist.cost_low, unit=False)} to "
        f"{cost_text(objective, finalist.cost_high, unit=False)})"
    )


def final_front_json(front: FinalFront, facts: Mapping[int, TrialFacts], study: StudyRecord) -> str:
    """All finalists as one JSON object, numbers in base units (fractions, milliseconds, counts)."""
    return json_text(snapshot_values(front, study) | {"split": front.split, "finalists": _rows(front, facts)})


def final_front_csv(front: FinalFront, facts: Mapping[int, TrialFacts]) -> str:
    """All finalists as CSV with a header line, numbers in base units, the seeds separated by blanks."""
    rows = [{**row, "seeds": " ".join(map(str, row["seeds"]))} for row in _rows(front, facts)]
    return csv_text(list(rows[0]), rows)


def _rows(front: FinalFront, facts: Mapping[int, TrialFacts]) -> list[JSON]:
    """The fields of Finalist, and what is known about its architecture, by ascending cost."""
    rows = []
    for finalist in front.finalists:
        trial = facts[finalist.trial_number]
        costs = {"param_count": trial.costs.param_count, "macs": trial.costs.macs}
        rows.append({**asdict(finalist), "seeds": list(finalist.seeds), **costs, "layout": trial.layout})
    return rows
