"""Fronts as tables, JSON and CSV. Pure functions over records."""

from collections.abc import Iterable, Iterator, Sequence

from nas.pareto.front import knee_number
from nas.pareto.places import Place
from nas.records import JSON, FinalFront, Front, Latency, StudyRecord, TrialFacts, facts_by_number
from nas.text import cost_text, csv_text, json_text, latency_text, text_table, utc_text


def front_text(front: Front, facts: Iterable[TrialFacts], study: StudyRecord, again: Sequence[Place] = ()) -> str:
    """The members of a front as an aligned table, the knee marked, under one line about the front; second timings
    beside the first."""
    top1_ref, cost_ref = front.reference_point
    head = (
        f"{study.name}: {len(front.members)} points, version {front.version} of {utc_text(front.created)}, "
        f"hypervolume {front.hypervolume:.4f} against top1 {top1_ref:.4f} and "
        f"{cost_text(study.cost_objective, cost_ref)}"
    )
    timings = ("latency (95 % interval)", "timed again") if again else ("latency (95 % interval)",)
    columns = ("trial", "top1", *timings, "params", "macs", "", "layout")
    return head + "\n" + text_table(columns, _member_cells(front, facts, again), right=len(columns) - 2)


def _member_cells(front: Front, facts: Iterable[TrialFacts], again: Sequence[Place]) -> Iterator[Sequence[str]]:
    """The cells of each member, by ascending cost; a second timing only where some member has one."""
    knee = knee_number(front.members)
    seconds = {place.trial_number: place for place in again}
    for trial in _member_facts(front, facts):
        second = seconds.get(trial.trial_number)
        timings = ["" if trial.latency is None else latency_text(trial.latency)]
        if again:
            timings.append("" if second is None else latency_text(second.second))
        marks = ("knee" if trial.trial_number == knee else "", _place_mark(second))
        yield (
            str(trial.trial_number),
            f"{trial.top1:.4f}",
            *timings,
            cost_text("param_count", trial.costs.param_count),
            cost_text("macs", trial.costs.macs),
            " ".join(filter(None, marks)),
            trial.layout,
        )


def _place_mark(place: Place | None) -> str:
    if place is None or place.rival is None:
        return ""
    return "lost" if place.is_lost else "lost?"


def front_json(front: Front, facts: Iterable[TrialFacts], study: StudyRecord, again: Sequence[Place] = ()) -> str:
    """A front as one JSON object, numbers in base units (fractions, milliseconds, counts)."""
    return json_text(front_values(front, facts, study, again))


def front_values(front: Front, facts: Iterable[TrialFacts], study: StudyRecord, again: Sequence[Place] = ()) -> JSON:
    """What front_json writes."""
    return snapshot_values(front, study) | {
        "reference_point": list(front.reference_point),
        "hypervolume": front.hypervolume,
        "members": _member_rows(front, facts, again),
    }


def snapshot_values(front: Front | FinalFront, study: StudyRecord) -> JSON:
    """What a front is of."""
    return {
        "study": study.name,
        "space": study.space,
        "data": study.data,
        "objectives": list(study.objectives),
        "target": study.target,
        "version": front.version,
        "created": front.created.isoformat(),
    }


def front_csv(front: Front, facts: Iterable[TrialFacts], again: Sequence[Place] = ()) -> str:
    """A front as CSV with a header line, numbers in base units; empty cells where there was no timing."""
    return csv_text(_COLUMNS, _member_rows(front, facts, again))


_COLUMNS = (
    "trial_number",
    "arch_hash",
    "top1",
    "latency_ms",
    "latency_ci_low_ms",
    "latency_ci_high_ms",
    "latency_p95_ms",
    "param_count",
    "macs",
    "knee",
    "seed",
    "steps",
    "weights_kept",
    "layout",
    "latency_again_ms",
    "latency_again_ci_low_ms",
    "latency_again_ci_high_ms",
    "dominated_again_by",
    "place_lost",
)


def _member_facts(front: Front, facts: Iterable[TrialFacts]) -> list[TrialFacts]:
    """The trials of the members that are among the facts, in the order of the front."""
    trials = facts_by_number(facts)
    return [trials[member.trial_number] for member in front.members if member.trial_number in trials]


def _member_rows(front: Front, facts: Iterable[TrialFacts], again: Sequence[Place]) -> list[JSON]:
    """Values of _COLUMNS for each member, by ascending cost."""
    knee = knee_number(front.members)
    seconds = {place.trial_number: place for place in again}
    rows = []
    for trial in _member_facts(front, facts):
        values = (
            trial.trial_number,
            trial.arch_hash,
            trial.top1,
            *_timing_values(trial.latency),
            trial.costs.param_count,
            trial.costs.macs,
            trial.trial_number == knee,
            trial.seed,
            trial.rungs[-1].steps,
            trial.weights is not None,
            trial.layout,
            *_second_values(seconds.get(trial.trial_number)),
        )
        rows.append(dict(zip(_COLUMNS, values, strict=True)))
    return rows


def _timing_values(timing: Latency | None) -> tuple[float | None, ...]:
    if timing is None:
        return (None,) * 4
    return timing.median_ms, timing.ci_low_ms, timing.ci_high_ms, timing.p95_ms


def _second_values(place: Place | None) -> tuple[object, ...]:
    if place is None:
        return (None,) * 5
    timing = place.second
    rival_number = None if place.rival is None else place.rival.trial_number
    return timing.median_ms, timing.ci_low_ms, timing.ci_high_ms, rival_number, place.is_lost
