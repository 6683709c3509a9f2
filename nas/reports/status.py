"""How studies stand, and how a search ended, in lines. Pure functions over records."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nas.analysis.spending import RungSpending, spending_of, spending_text
from nas.pareto.places import latest, places
from nas.pareto.targets import Timings
from nas.records import COUNTED_STATES, JSON, Front, Lease, Retiming, StudyRecord, TrialFacts
from nas.reports.fronts import front_text
from nas.reports.retimings import retimings_text
from nas.text import duration_text, text_table, utc_text


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
        study: its record.
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
    columns = ("evaluated", "best top1", "front", "hypervolume", "state", "created", "objectives", "study")
    return text_table(columns, [_study_cells(summary) for summary in summaries], right=4)


def _study_cells(summary: StudySummary) -> Sequence[str]:
    study = summary.study
    front = summary.front
    members = () if front is None else front.members
    return (
        _budget_text(summary),
        f"{max(member.top1 for member in members):.4f}" if members else "",
        str(len(members)),
        "" if front is None else f"{front.hypervolume:.4f}",
        "running" if summary.owner else "idle",
        utc_text(study.created),
        ",".join(study.objectives),
        study.name,
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


def closing_lines(
    study: StudyRecord,
    front: Front | None,
    facts: Sequence[TrialFacts],
    timings: Timings,
    retimings: Sequence[Retiming],
    *,
    reason: str,
    is_complete: bool,
    where: str,
    next_steps: Sequence[str],
) -> list[str]:
    """What a search says at its end: the front, where things are, and what to type next.

    Args:
        study: its record.
        front: its latest snapshot; None when it has none yet.
        facts: all its trials, in the order in which they ended.
        timings: of its trials.
        retimings: second timings of members of its fronts, oldest first.
        reason: why the search ended, one line.
        is_complete: whether nothing is left to do.
        where: one line that names database, artifacts and log.
        next_steps: commands of launch.py with their options.
    """
    lines = []
    if front is not None:
        again = places(front, facts, latest(retimings, study.target))
        lines = ["", front_text(front, facts, study, again), ""]
    if front is not None and is_complete:
        lines += retimings_text(study, facts, timings, retimings)
        if study.cost_objective != "latency_ms":
            lines.append(f"the front is not timed again: its cost, {study.cost_objective}, is counted")
    lines += [reason, where]
    if not is_complete:
        lines.append("the same command continues")
    return [*lines, "next: " + " | ".join(f"launch.py {step}" for step in next_steps)]


def _budget_text(summary: StudySummary) -> str:
    budget = summary.study.config.get("budget")
    # The recorded budget is that of the first run; a later one may have been larger.
    if budget is None or summary.evaluated > int(budget):
        return str(summary.evaluated)
    return f"{summary.evaluated} of {budget}"


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
