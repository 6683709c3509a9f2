"""Texts for people and programs: fronts, studies and spaces as tables, JSON and CSV. Pure functions over records."""

import contextlib
import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nas.analysis.spending import RungSpending, spending_of, spending_text
from nas.errors import InvalidInputError
from nas.pareto.front import knee
from nas.protocols import SearchSpace
from nas.records import COUNTED_STATES, JSON, FinalFront, Front, Lease, StudyRecord, TrialFacts
from nas.search.retiming import Place
from nas.tables import text_table
from nas.text import cost_text, count_text, duration_text, latency_text


def front_text(front: Front, facts: Iterable[TrialFacts], study: StudyRecord, again: Sequence[Place] = ()) -> str:
    """The members of a front as an aligned table, the knee marked, under one line about the front; second timings
    beside the first."""
    objective = study.objectives[1]
    top1_ref, cost_ref = front.reference_point
    head = (
        f"{study.name}: {len(front.members)} points, version {front.version} of {utc_text(front.created)}, "
        f"hypervolume {front.hypervolume:.4f} against top1 {top1_ref:.4f} and {cost_text(objective, cost_ref)}"
    )
    knee_number = knee(front.members).trial_number if front.members else None
    seconds = {place.trial_number: place for place in again}
    rows = []
    for trial in _member_facts(front, facts):
        second = seconds.get(trial.trial_number)
        timings = (
            "" if trial.latency is None else latency_text(trial.latency),
            *([latency_text(second.second) if second else ""] if again else []),
        )
        costs = (cost_text("param_count", trial.costs.param_count), cost_text("macs", trial.costs.macs))
        marks = ("knee" if trial.trial_number == knee_number else "", _place_mark(second))
        rows.append(
            (
                str(trial.trial_number),
                f"{trial.top1:.4f}",
                *timings,
                *costs,
                " ".join(filter(None, marks)),
                trial.layout,
            )
        )
    columns = (
        "trial",
        "top1",
        "latency (95 % interval)",
        *(["timed again"] if again else []),
        "params",
        "macs",
        "",
        "layout",
    )
    return head + "\n" + text_table(columns, rows, right=len(columns) - 2)


def _place_mark(place: Place | None) -> str:
    if place is None or place.rival is None:
        return ""
    return "lost" if place.is_lost else "lost?"


def front_json(front: Front, facts: Iterable[TrialFacts], study: StudyRecord, again: Sequence[Place] = ()) -> str:
    """A front as one JSON object, numbers in base units (fractions, milliseconds, counts)."""
    members = _member_rows(front, facts, again)
    return snapshot_json(
        front, study, reference_point=list(front.reference_point), hypervolume=front.hypervolume, members=members
    )


def snapshot_json(front: Front | FinalFront, study: StudyRecord, **contents: object) -> str:
    """One JSON object: what a front is of, and its contents."""
    return json.dumps(
        {
            "study": study.name,
            "space": study.space,
            "data": study.data,
            "objectives": list(study.objectives),
            "target": study.target,
            "version": front.version,
            "created": front.created.isoformat(),
            **contents,
        },
        indent=2,
        allow_nan=False,
        ensure_ascii=False,
    )


def front_csv(front: Front, facts: Iterable[TrialFacts], again: Sequence[Place] = ()) -> str:
    """A front as CSV with a header line, numbers in base units; empty cells where there was no timing."""
    text = io.StringIO()
    rows = _member_rows(front, facts, again)
    writer = csv.DictWriter(text, fieldnames=_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@dataclass(frozen=True, slots=True)
class StudySummary:
    """What `status` says about one study."""

    study: StudyRecord
    counts: Mapping[str, int]
    """Trials by state."""
    reasons: Mapping[str, int]
    """How often each reason of a FAIL or REJECTED occurred."""
    device_s: Mapping[str, float]
    """Worker seconds by state of the trial they went to."""
    spending: Sequence[RungSpending]
    """What the trainings took, by rung."""
    front: Front | None
    owner: Lease | None
    """Who coordinates the study now."""

    @property
    def evaluated(self) -> int:
        """What counts towards the budget."""
        return sum(self.counts.get(state, 0) for state in COUNTED_STATES)


def summarize(
    study: StudyRecord, facts: Iterable[TrialFacts], front: Front | None, owner: Lease | None = None
) -> StudySummary:
    """Count the facts of a study.

    Args:
        search: the study.
        facts: all its trials, in any order.
        front: its latest snapshot.
        owner: the lease that is held now.
    """
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    device_s: dict[str, float] = {}
    trials = list(facts)
    for trial in trials:
        counts[trial.state] += 1
        device_s[trial.state] = device_s.get(trial.state, 0.0) + trial.duration_s
        if trial.reason:
            # Each rejected candidate has a cost of its own; what counts is the limit.
            reason = re.sub(r" is [^;]+, over", ", over", trial.reason) if trial.state == "REJECTED" else trial.reason
            reasons[f"{trial.state}: {reason}"] += 1
    spending = spending_of(trials, int(study.recipe["batch_size"]))
    return StudySummary(study, counts, reasons, device_s, spending, front, owner)


def studies_text(summaries: Sequence[StudySummary]) -> str:
    """One line per study."""
    if not summaries:
        return "no studies yet; `launch.py --space hybrid_layout --budget 200` starts one"
    rows = []
    for summary in summaries:
        study = summary.study
        front = summary.front
        best = f"{max(member.top1 for member in front.members):.4f}" if front and front.members else ""
        points, volume = (str(len(front.members)), f"{front.hypervolume:.4f}") if front else ("0", "")
        state = "running" if summary.owner else "idle"
        rows.append(
            (
                _budget_text(summary),
                best,
                points,
                volume,
                state,
                utc_text(study.created),
                ",".join(study.objectives),
                study.name,
            )
        )
    return text_table(
        ("evaluated", "best top1", "front", "hypervolume", "state", "created", "objectives", "study"), rows, right=4
    )


def status_text(summary: StudySummary) -> str:
    """Everything that `status --study` says."""
    study = summary.study
    front = summary.front
    lines = [
        f"study         {study.name}",
        f"created       {utc_text(study.created)} by version {study.code_version}",
        f"space         {study.space} ({study.space_hash[:12]})",
        f"data          {study.data}",
        f"objectives    {', '.join(study.objectives)}",
        f"evaluated     {_budget_text(summary)}",
        f"trials        {_counts_text(summary.counts)}",
        f"device time   {_device_text(summary.device_s)}",
    ]
    if study.target is not None:
        lines.append(f"target        {_pairs_text(study.target)}")
    if study.limits:
        lines.append("limits        " + ", ".join(f"{name} <= {value:g}" for name, value in study.limits.items()))
    if front is not None:
        lines.append(
            f"front         {len(front.members)} points, hypervolume {front.hypervolume:.4f}, version {front.version}"
        )
    if summary.owner is not None:
        owner = summary.owner
        lines.append(
            f"running       process {owner.process.pid} on {owner.host}, last heard of at {utc_text(owner.heartbeat)}"
        )
    lines += [f"reason        {count} x {reason}" for reason, count in Counter(summary.reasons).most_common()]
    if summary.spending:
        lines += ["", spending_text(summary.spending), ""]
    return "\n".join(lines)


def space_text(space: SearchSpace) -> str:
    """The genes of a space with their values and meaning, under its size."""
    genotypes = math.prod(len(gene.values) for gene in space.genes)
    head = f"{space.name}, scale {space.scale}: {len(space.genes)} genes, {count_text(genotypes)} genotypes"
    rows = [(gene.name, " ".join(str(value) for value in gene.values), gene.meaning) for gene in space.genes]
    return head + "\n" + text_table(("gene", "values", "meaning"), rows, right=0)


def write_file(path: Path, content: str | bytes, suffixes: Sequence[str]) -> None:
    """Write a file for a user, whole or not at all.

    Args:
        path: where to; an existing file is replaced.
        content: text is written as UTF-8.
        suffixes: what the name may end in, ".csv" for example.

    Raises:
        InvalidInputError: as check_file, and if the file cannot be written.
    """
    check_file(path, suffixes)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise InvalidInputError(
            f"cannot write {str(path)!r} ({error.strerror}); choose a folder that you may write to"
        ) from error


def check_file(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse what write_file could not write, before long work.

    Raises:
        InvalidInputError: if the suffix is another one, it is a folder, or its folder does not exist.
    """
    if path.suffix.lower() not in suffixes:
        raise InvalidInputError(
            f"{str(path)!r} ends in {path.suffix!r}; expected a file name that ends in {' or '.join(suffixes)}"
        )
    if path.is_dir() or not path.parent.is_dir():
        problem = (
            "is a folder; expected a file name"
            if path.is_dir()
            else "lies in a folder that does not exist; create the folder first"
        )
        raise InvalidInputError(f"{str(path)!r} {problem}")


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
    """The trials of the members, in the order of the front."""
    numbers = {member.trial_number: place for place, member in enumerate(front.members)}
    return sorted(
        (trial for trial in facts if trial.trial_number in numbers), key=lambda trial: numbers[trial.trial_number]
    )


def _member_rows(front: Front, facts: Iterable[TrialFacts], again: Sequence[Place]) -> list[JSON]:
    """Values of _COLUMNS for each member, by ascending cost."""
    knee_number = knee(front.members).trial_number if front.members else None
    seconds = {place.trial_number: _second_values(place) for place in again}
    rows = []
    for trial in _member_facts(front, facts):
        timing = trial.latency
        latency = (
            (None,) * 4 if timing is None else (timing.median_ms, timing.ci_low_ms, timing.ci_high_ms, timing.p95_ms)
        )
        is_knee = trial.trial_number == knee_number
        values = (
            trial.trial_number,
            trial.arch_hash,
            trial.top1,
            *latency,
            trial.costs.param_count,
            trial.costs.macs,
            is_knee,
        )
        training = (trial.seed, trial.rungs[-1].steps, trial.weights is not None, trial.layout)
        rows.append(
            dict(zip(_COLUMNS, (*values, *training, *seconds.get(trial.trial_number, (None,) * 5)), strict=True))
        )
    return rows


def _second_values(place: Place) -> tuple[object, ...]:
    timing = place.second
    rival = place.rival
    return timing.median_ms, timing.ci_low_ms, timing.ci_high_ms, rival and rival.trial_number, place.is_lost


def _budget_text(summary: StudySummary) -> str:
    budget = summary.study.config.get("budget")
    # The recorded budget is that of the first run; a later one may have been larger.
    return (
        str(summary.evaluated)
        if budget is None or summary.evaluated > int(budget)
        else f"{summary.evaluated} of {budget}"
    )


def _counts_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts.get(state, 0)} {state}" for state in ("COMPLETE", "PRUNED", "REJECTED", "FAIL"))


def _device_text(device_s: Mapping[str, float]) -> str:
    parts = [
        f"{state} {duration_text(device_s[state])}"
        for state in ("COMPLETE", "PRUNED", "REJECTED", "FAIL")
        if device_s.get(state, 0) >= 1
    ]
    return duration_text(sum(device_s.values())) + (f" ({', '.join(parts)})" if parts else "")


def _pairs_text(settings: JSON) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def utc_text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
