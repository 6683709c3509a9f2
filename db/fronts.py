"""Snapshots of fronts: appended, read, and proved against the facts. Works inside the caller's transaction."""

import math
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from db.rows import front_record, front_values
from db.tables import architectures, front_members, fronts, latencies, studies, trainings
from db.trials import training_keys
from nas.pareto.front import front_of, hypervolume
from nas.records import Front, FrontMember, StudyRecord, TrialFacts
from nas.text import json_hash

_LATEST = (
    sa.select(fronts)
    .join(studies)
    .where(studies.c.name == sa.bindparam("study"))
    .order_by(fronts.c.version.desc())
    .limit(1)
)
_MEMBERS = (
    sa.select(trainings.c.trial_number, architectures.c.arch_hash, front_members.c.top1, front_members.c.cost)
    .select_from(front_members.join(trainings).join(architectures))
    .where(front_members.c.front_id == sa.bindparam("front_id"))
    .order_by(front_members.c.position)
)


def insert_front(connection: Connection, study_id: int, front: Front) -> None:
    """Append a snapshot; its members' facts are recorded already."""
    trials = training_keys(connection, study_id, [member.trial_number for member in front.members])
    key = connection.execute(sa.insert(fronts), front_values(study_id, front)).inserted_primary_key
    assert key is not None
    rows = [
        {
            "front_id": key[0],
            "position": position,
            **trials[member.trial_number]._asdict(),
            "top1": member.top1,
            "cost": member.cost,
        }
        for position, member in enumerate(front.members)
    ]
    connection.execute(sa.insert(front_members), rows)


def select_front(connection: Connection, study: str) -> Front | None:
    """The latest one."""
    row = connection.execute(_LATEST, {"study": study}).one_or_none()
    if row is None:
        return None
    members = connection.execute(_MEMBERS, {"front_id": row.id})
    return front_record(row, tuple(FrontMember(*member) for member in members))


def latest_front_faults(study: StudyRecord, facts: Sequence[TrialFacts], latest: Front | None) -> list[str]:
    """Where the latest snapshot differs from the front that the facts give.

    Returns:
        One line per difference; empty when snapshot and facts agree.
    """
    cost_objective = study.cost_objective
    expected = front_of(facts, cost_objective, study.reference_point)
    if latest is None:
        return [f"no front is recorded, but {len(expected)} trials are not dominated"] if expected else []
    faults = [f"front {latest.version} lacks {member}" for member in expected if member not in latest.members]
    faults += [
        f"front {latest.version} has {member}, which the facts do not give"
        for member in latest.members
        if member not in expected
    ]
    if not faults and latest.members != expected:
        faults.append(f"the members of front {latest.version} are not ordered by cost")
    if latest.reference_point != study.reference_point:
        faults.append(
            f"front {latest.version} has reference point {latest.reference_point}, the study {study.reference_point}"
        )
    volume = hypervolume(((m.top1, m.cost) for m in expected), study.reference_point)
    if not math.isclose(volume, latest.hypervolume, rel_tol=1e-9, abs_tol=1e-12):
        faults.append(f"front {latest.version} has hypervolume {latest.hypervolume}, its members {volume}")
    targets = {json_hash(trial.latency.target) for trial in facts if trial.latency is not None}
    if cost_objective == "latency_ms" and len(targets) > 1:
        faults.append(f"latencies of {len(targets)} different targets stand in one study")
    return faults


def snapshot_faults(connection: Connection, study: StudyRecord) -> list[str]:
    """Where a member of any snapshot differs from the rows it rests on; one line each."""
    cost_objective = study.cost_objective
    cost = latencies.c.median_ms if cost_objective == "latency_ms" else architectures.c[cost_objective]
    broken = (
        sa.select(fronts.c.version, trainings.c.trial_number)
        .select_from(
            front_members.join(fronts)
            .join(studies, fronts.c.study_id == studies.c.id)
            .join(trainings, front_members.c.training_id == trainings.c.id)
            .join(architectures, trainings.c.architecture_id == architectures.c.id)
            .join(latencies, front_members.c.latency_id == latencies.c.id, isouter=True)
        )
        .where(
            studies.c.name == study.name,
            sa.or_(
                trainings.c.study_id != fronts.c.study_id,
                trainings.c.state != "COMPLETE",
                trainings.c.latency_id.is_distinct_from(front_members.c.latency_id),
                trainings.c.top1.is_distinct_from(front_members.c.top1),
                cost.is_distinct_from(front_members.c.cost),
            ),
        )
        .order_by(fronts.c.version, front_members.c.position)
    )
    return [
        f"front {row.version}: trial {row.trial_number} differs from its recorded facts"
        for row in connection.execute(broken)
    ]
