"""What the service says of studies, trials and jobs: plain JSON, numbers in base units, times in ISO 8601."""

import re
from datetime import datetime
from typing import Any

from db.browse import Outline
from db.submissions import Job, Submission
from nas.records import COUNTED_STATES, JSON, Front

STATES = ("COMPLETE", "PRUNED", "REJECTED", "FAIL")


def study_json(
    name: str,
    submission: Submission | None,
    outline: Outline | None,
    *,
    position: int | None,
    is_running: bool,
    counts: dict[str, int],
    best_top1: float | None,
    front: tuple[int, float] | None,
    workers: JSON,
) -> JSON:
    """A study, submitted or only recorded.

    Args:
        name: of the study.
        submission: None where nobody submitted it.
        outline: None before its search has begun.
        position: in the queue, from 1.
        is_running: whether a search works on a study that nobody submitted.
        counts: trials by state.
        best_top1: of its finished trials.
        front: members and hypervolume of the latest front.
        workers: what each does now, by its name.
    """
    evaluated = sum(counts.get(state, 0) for state in COUNTED_STATES)
    return {
        "name": name,
        "owner": None if submission is None else submission.owner,
        "state": _state(submission, is_running),
        "position": position,
        "options": {} if submission is None else submission.options,
        "budget": _budget(submission, outline, evaluated),
        "evaluated": evaluated,
        "trials": {state: counts.get(state, 0) for state in STATES},
        "best_top1": best_top1,
        "hypervolume": None if front is None else front[1],
        "front_size": 0 if front is None else front[0],
        "workers": workers,
        "cost_objective": _cost_objective(submission, outline),
        "created": _time(_created(submission, outline)),
        "started": None if submission is None else _time(submission.started),
        "ended": None if submission is None else _time(submission.ended),
        "attempts": 0 if submission is None else submission.attempts,
        "exit_line": None if submission is None else submission.exit_line,
        "recorded": outline is not None,
    }


def _budget(submission: Submission | None, outline: Outline | None, evaluated: int) -> int | None:
    """What a search in a terminal was extended to is not recorded, so it is unknown behind the first budget."""
    if submission is not None:
        return int(submission.options["budget"])
    budget = None if outline is None else outline.budget
    return None if budget is None or evaluated > budget else budget


def _cost_objective(submission: Submission | None, outline: Outline | None) -> str | None:
    """What top1 is weighed against: what was asked for, before there is a record."""
    if outline is not None:
        return outline.cost_objective
    if submission is None:
        return None
    return str(submission.options.get("objectives", "top1,latency_ms")).rpartition(",")[2].strip()


def _created(submission: Submission | None, outline: Outline | None) -> datetime | None:
    if submission is not None:
        return submission.created
    return None if outline is None else outline.created


def _state(submission: Submission | None, is_running: bool) -> str:
    if submission is not None:
        return submission.state
    return "running" if is_running else "stopped"


def trial_json(row: JSON, cost_objective: str) -> JSON:
    """A trial, from a row of db.browse."""
    costs = {"latency_ms": row["median_ms"], "param_count": row["param_count"], "macs": row["macs"]}
    return {
        "number": row["trial_number"],
        "state": row["state"],
        "reason": row["reason"],
        "top1": row["top1"],
        "cost": costs[cost_objective],
        "latency_ms": row["median_ms"],
        "latency_low_ms": row["ci_low_ms"],
        "latency_high_ms": row["ci_high_ms"],
        "param_count": row["param_count"],
        "macs": row["macs"],
        "layout": row["layout"],
        "arch_hash": row["arch_hash"],
        "duration_s": row["duration_s"],
        "device": row["device"],
        "worker": row["worker"],
        "weights_kept": row["weights_path"] is not None,
        "recorded": _time(row["recorded"]),
    }


def whole_trial_json(row: JSON, cost_objective: str) -> JSON:
    """The same with spec, scores and every timing."""
    latencies = [_timing(timing) for timing in row["timings"]]
    return {**trial_json(row, cost_objective), "spec": row["spec"], "rungs": row["curve"], "latencies": latencies}


def _timing(row: JSON) -> JSON:
    shown = {name: row[name] for name in ("target", "median_ms", "ci_low_ms", "ci_high_ms", "p95_ms", "samples")}
    return {**shown, "recorded": _time(row["recorded"])}


def front_event(front: Front) -> JSON:
    """A front without what its members are."""
    members = [
        {"trial_number": each.trial_number, "top1": each.top1, "cost": each.cost, "arch_hash": each.arch_hash}
        for each in front.members
    ]
    return {
        "version": front.version,
        "created": _time(front.created),
        "hypervolume": front.hypervolume,
        "reference_point": list(front.reference_point),
        "members": members,
    }


def job_json(job: Job) -> JSON:
    """A job."""
    return {
        "id": job.id,
        "kind": job.kind,
        "study": job.study,
        "owner": job.owner,
        "pick": job.options.get("pick"),
        "trial": trial_of(job),
        "state": job.state,
        "entry": job.entry,
        "message": job.message,
        "created": _time(job.created),
        "ended": _time(job.ended),
    }


def trial_of(job: Job) -> int | None:
    """The trial that a job writes; None where that is not known yet, as for the knee of a front."""
    named = re.match(r"trial:(\d+)$", str(job.options.get("pick"))) or re.match(r"trial (\d+)", job.message or "")
    return None if named is None else int(named[1])


def page_json(items: list[Any], total: int, offset: int, limit: int) -> JSON:
    """A part of a list."""
    return {"items": items, "total": total, "offset": offset, "limit": limit}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
