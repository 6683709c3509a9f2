"""Fronts on other latency targets than the one that a study searched on: computed from its trials and what they were
timed on later."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from nas.errors import InvalidInputError
from nas.pareto.front import front_of, hypervolume
from nas.records import JSON, Front, Latency, StudyRecord, TrialFacts, facts_by_number

Timings = Mapping[int, Sequence[Latency]]
"""Trial number -> every timing of its architecture, oldest first."""


@dataclass(frozen=True, slots=True)
class TargetView:
    """A study as if it had been timed on one target only."""

    study: StudyRecord
    facts: tuple[TrialFacts, ...]
    """The finished trials that were timed on it, in the order in which they ended."""
    history: tuple[TrialFacts, ...]
    """All trials in that order; those that are not among `facts` have no latency."""
    front: Front


def on_target(study: StudyRecord, facts: Sequence[TrialFacts], timings: Timings, settings: JSON) -> TargetView:
    """The study's trials with their latencies on one target, and their front of top1 against these.

    Latencies of different fingerprints never meet: where several fingerprints have these settings (another machine,
    another version of the runtime), the one that was timed last counts. The reference point is the slowest trial that
    was timed.

    Args:
        study: its record.
        facts: its trials.
        timings: of its trials.
        settings: what a fingerprint must agree with; a subset of its names.

    Raises:
        InvalidInputError: if no finished trial was timed on such a target; the message names the targets there are.
    """
    view = view_on(study, facts, timings, settings)
    if view is None:
        known = {json.dumps(latency.target, sort_keys=True): latency.target for latency in _timed(facts, timings)}
        names = "; ".join(target_text(target) for target in known.values()) or "none"
        raise InvalidInputError(
            f"study {study.name!r} has no latencies on {_pairs(settings)}; it has those on: {names}. "
            "`launch.py profile` with the same --study, --storage and --latency-target times it"
        )
    return view


def view_on(study: StudyRecord, facts: Sequence[TrialFacts], timings: Timings, settings: JSON) -> TargetView | None:
    """The same as `on_target`; None where no finished trial was timed on such a target."""
    fitting = [latency for latency in _timed(facts, timings) if _agrees(latency.target, settings)]
    if not fitting:
        return None
    target = max(fitting, key=lambda latency: str(latency.conditions.get("measured", ""))).target
    seen = _seen_on(target, facts, timings)
    reference = study.reference_point[0], max(trial.latency.median_ms for trial in seen if trial.latency)
    if target == study.target and study.cost_objective == "latency_ms":
        reference = study.reference_point
    members = front_of(seen, "latency_ms", reference)
    volume = hypervolume(((member.top1, member.cost) for member in members), reference)
    view = replace(study, objectives=("top1", "latency_ms"), target=target, reference_point=reference)
    there = facts_by_number(seen)
    history = tuple(there.get(trial.trial_number, replace(trial, latency=None)) for trial in facts)
    return TargetView(view, tuple(seen), history, Front(1, datetime.now(UTC), reference, volume, members))


def _agrees(target: JSON, settings: JSON) -> bool:
    return all(target.get(name) == value for name, value in settings.items())


def _timed(facts: Sequence[TrialFacts], timings: Timings) -> list[Latency]:
    """Every timing of every finished trial."""
    found: list[Latency] = []
    for trial in facts:
        if trial.state == "COMPLETE":
            found += timings.get(trial.trial_number, ())
    return found


def _seen_on(target: JSON, facts: Sequence[TrialFacts], timings: Timings) -> list[TrialFacts]:
    """The finished trials that were timed on a target (a whole fingerprint), with their latency there."""
    seen = []
    for trial in facts:
        if trial.state != "COMPLETE":
            continue
        timed = [latency for latency in timings.get(trial.trial_number, ()) if latency.target == target]
        # What the search itself measured stays what its trial is known by.
        own = trial.latency if trial.latency is not None and trial.latency.target == target else None
        if own or timed:
            seen.append(replace(trial, latency=own or timed[-1]))
    return seen


def untimed(trials: Sequence[TrialFacts], timings: Timings, target: JSON) -> list[TrialFacts]:
    """Those of the trials that have no latency on the target (a whole fingerprint)."""
    return [trial for trial in trials if not _is_timed(timings.get(trial.trial_number, ()), target)]


def _is_timed(latencies: Sequence[Latency], target: JSON) -> bool:
    return any(latency.target == target for latency in latencies)


def target_text(target: JSON) -> str:
    """A fingerprint in one line."""
    named = ("threads", "batch", "dtype", "memory_format", "compile")
    options = ",".join(f"{name}={target[name]}" for name in named if target.get(name) is not None)
    return (
        f"{target.get('kind')}:{options} on {target.get('device_name')} with {target.get('runtime')} "
        f"{target.get('runtime_version')}"
    )


def _pairs(settings: JSON) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
