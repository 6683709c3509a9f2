"""Records to rows and back. What is written is read back equal; JSON columns hold JSON values, so a tuple inside one
returns as a list."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from nas.data_facts import DataFacts
from nas.records import (
    Costs,
    Front,
    FrontMember,
    KeptWeights,
    Latency,
    Lease,
    ProcessId,
    RungScore,
    StudyRecord,
    TrialFacts,
)

Values = dict[str, Any]
"""Column name -> value."""


def require_finite(what: str, values: Iterable[float]) -> None:
    """Refuse NaN and infinity where the record itself does not (DESIGN 2.12).

    Raises:
        ValueError: naming `what`.
    """
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"{what} is {value}; only finite numbers are recorded")


def study_values(study: StudyRecord) -> Values:
    require_finite("the reference point", study.reference_point)
    reference_top1, reference_cost = study.reference_point
    return {
        "name": study.name,
        "uid": study.uid,
        "space": study.space,
        "space_module": study.space_module,
        "scale": study.scale,
        "mixers": study.mixers,
        "space_hash": study.space_hash,
        "objectives": list(study.objectives),
        "reference_top1": reference_top1,
        "reference_cost": reference_cost,
        "data": study.data,
        "data_location": study.data_location,
        "data_fingerprint": study.data_fingerprint,
        "data_facts": None if study.data_facts is None else study.data_facts.to_json(),
        "recipe": study.recipe,
        "target": study.target,
        "limits": dict(study.limits),
        "seed": study.seed,
        "device": study.device,
        "artifacts": study.artifacts,
        "config": study.config,
        "code_version": study.code_version,
        "created": study.created,
    }


def study_record(row: Row[Any]) -> StudyRecord:
    return StudyRecord(
        name=row.name,
        uid=row.uid,
        space=row.space,
        space_module=row.space_module,
        scale=row.scale,
        mixers=row.mixers,
        space_hash=row.space_hash,
        objectives=tuple(row.objectives),
        reference_point=(row.reference_top1, row.reference_cost),
        data=row.data,
        data_location=row.data_location,
        data_fingerprint=row.data_fingerprint,
        data_facts=None if row.data_facts is None else DataFacts.from_json(row.data_facts),
        recipe=row.recipe,
        target=row.target,
        limits=row.limits,
        seed=row.seed,
        device=row.device,
        artifacts=row.artifacts,
        config=row.config,
        code_version=row.code_version,
        created=row.created,
    )


def lease_values(study: str, lease: Lease) -> Values:
    return {
        "study": study,
        "host": lease.host,
        "machine": lease.machine,
        "token": lease.token,
        "pid": lease.process.pid,
        "start_time_s": lease.process.start_time,
        "heartbeat": lease.heartbeat,
        "ray_processes": [asdict(process) for process in lease.ray_processes],
        "ray_session": lease.ray_session,
    }


def lease_record(row: Row[Any]) -> Lease:
    return Lease(
        host=row.host,
        machine=row.machine,
        token=row.token,
        process=ProcessId(row.pid, row.start_time_s),
        heartbeat=row.heartbeat,
        ray_processes=tuple(ProcessId(**process) for process in row.ray_processes),
        ray_session=row.ray_session,
    )


def architecture_values(space: str, facts: TrialFacts) -> Values:
    spec = json.loads(json.dumps(facts.spec, allow_nan=False))
    return {"arch_hash": facts.arch_hash, "space": space, "spec": spec, "layout": facts.layout, **asdict(facts.costs)}


def latency_values(architecture_id: int, latency: Latency) -> Values:
    return {"architecture_id": architecture_id, **asdict(latency), "recorded": datetime.now(UTC)}


def training_values(facts: TrialFacts) -> Values:
    """The columns of `trainings` that the facts alone determine."""
    require_finite("TrialFacts.duration_s", [facts.duration_s])
    last = facts.rungs[-1] if facts.rungs else None
    return {
        "trial_number": facts.trial_number,
        "seed": facts.seed,
        "state": facts.state,
        "reason": None if facts.reason is None else storable(facts.reason),
        "rung": last and last.rung,
        "steps": last and last.steps,
        "top1": last and last.top1,
        "loss": last and last.loss,
        "curve": [asdict(score) for score in facts.rungs],
        "duration_s": facts.duration_s,
        "device": facts.device,
        "worker": facts.worker,
        **weights_values(facts.weights),
        "recorded": datetime.now(UTC),
    }


def weights_values(weights: KeptWeights | None) -> Values:
    """The columns that name kept weights, in `trainings` as in `final_trainings`; NULL without any."""
    if weights is None:
        return {"weights_path": None, "weights_sha256": None}
    return {"weights_path": weights.path, "weights_sha256": weights.sha256}


def weights_record(row: Row[Any]) -> KeptWeights | None:
    """The inverse of weights_values."""
    return None if row.weights_path is None else KeptWeights(row.weights_path, row.weights_sha256)


def storable(text: str) -> str:
    # A reason quotes what a crashed worker printed: bytes that are no text must not keep the failure itself from being
    # recorded.
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def trial_facts(row: Row[Any]) -> TrialFacts:
    """From the columns of trainings, architectures and latencies (all NULL without one)."""
    return TrialFacts(
        trial_number=row.trial_number,
        arch_hash=row.arch_hash,
        spec=row.spec,
        layout=row.layout,
        costs=Costs(row.param_count, row.macs),
        seed=row.seed,
        state=row.state,
        reason=row.reason,
        latency=None if row.latency_id is None else latency_record(row),
        rungs=tuple(RungScore(**score) for score in row.curve),
        weights=weights_record(row),
        device=row.device,
        worker=row.worker,
        duration_s=row.duration_s,
    )


def latency_record(row: Row[Any]) -> Latency:
    return Latency(
        target=row.target,
        conditions=row.conditions,
        median_ms=row.median_ms,
        ci_low_ms=row.ci_low_ms,
        ci_high_ms=row.ci_high_ms,
        p95_ms=row.p95_ms,
        samples=row.samples,
    )


def front_values(study_id: int, front: Front) -> Values:
    require_finite("a number of the front", [front.hypervolume, *front.reference_point])
    for member in front.members:
        require_finite(f"a number of front member {member.trial_number}", [member.top1, member.cost])
    reference_top1, reference_cost = front.reference_point
    return {
        "study_id": study_id,
        "version": front.version,
        "created": front.created,
        "reference_top1": reference_top1,
        "reference_cost": reference_cost,
        "hypervolume": front.hypervolume,
    }


def front_record(row: Row[Any], members: tuple[FrontMember, ...]) -> Front:
    return Front(row.version, row.created, (row.reference_top1, row.reference_cost), row.hypervolume, members)
