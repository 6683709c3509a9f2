"""Full trainings of front members, and the fronts that they give. Works inside the caller's transaction."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from db.rows import storable, weights_record, weights_values
from db.tables import architectures, final_front_members, final_fronts, final_trainings, studies, trainings
from db.trials import training_keys
from nas.records import FinalFront, Finalist, FinalTraining, RungScore

_TRAININGS = (
    sa.select(final_trainings, trainings.c.trial_number)
    .select_from(final_trainings.join(trainings).join(studies))
    .where(studies.c.name == sa.bindparam("study"))
    .order_by(final_trainings.c.id)  # a study has one writer, which records a training when it ends
)
_LATEST = (
    sa.select(final_fronts)
    .join(studies)
    .where(studies.c.name == sa.bindparam("study"))
    .order_by(final_fronts.c.version.desc())
    .limit(1)
)
_MEMBERS = (
    sa.select(final_front_members, trainings.c.trial_number, architectures.c.arch_hash)
    .select_from(final_front_members.join(trainings).join(architectures))
    .where(final_front_members.c.final_front_id == sa.bindparam("final_front_id"))
    .order_by(final_front_members.c.position)
)


def insert_final_training(connection: Connection, study_id: int, training: FinalTraining) -> None:
    """Add one; its trial is recorded already."""
    key = training_keys(connection, study_id, [training.trial_number])[training.trial_number]
    values = {
        "training_id": key.training_id,
        "recipe": training.recipe,
        "recipe_hash": training.recipe_hash,
        "seed": training.seed,
        "purpose": training.purpose,
        "state": training.state,
        "reason": None if training.reason is None else storable(training.reason),
        "top1": training.top1,
        "test_top1": training.test_top1,
        "curve": [asdict(score) for score in training.rungs],
        "duration_s": training.duration_s,
        "device": training.device,
        **weights_values(training.weights),
        "recorded": datetime.now(UTC),
    }
    connection.execute(sa.insert(final_trainings), values)


def select_final_trainings(connection: Connection, study: str) -> list[FinalTraining]:
    """In the order in which they ended."""
    return [_final_training(row) for row in connection.execute(_TRAININGS, {"study": study})]


def _final_training(row: Row[Any]) -> FinalTraining:
    return FinalTraining(
        trial_number=row.trial_number,
        recipe=row.recipe,
        recipe_hash=row.recipe_hash,
        seed=row.seed,
        purpose=row.purpose,
        state=row.state,
        reason=row.reason,
        rungs=tuple(RungScore(**score) for score in row.curve),
        test_top1=row.test_top1,
        weights=weights_record(row),
        device=row.device,
    )


def insert_final_front(connection: Connection, study_id: int, front: FinalFront) -> None:
    """Append a snapshot; the trials of its finalists are recorded already."""
    trials = training_keys(connection, study_id, [finalist.trial_number for finalist in front.finalists])
    values = {"study_id": study_id, "version": front.version, "created": front.created, "split": front.split}
    key = connection.execute(sa.insert(final_fronts), values).inserted_primary_key
    assert key is not None
    rows = []
    for position, finalist in enumerate(front.finalists):
        numbers = asdict(finalist) | {"seeds": list(finalist.seeds)}
        del numbers["arch_hash"]
        training_id = trials[numbers.pop("trial_number")].training_id
        rows.append({"final_front_id": key[0], "position": position, "training_id": training_id, **numbers})
    connection.execute(sa.insert(final_front_members), rows)


def select_final_front(connection: Connection, study: str) -> FinalFront | None:
    """The latest one."""
    row = connection.execute(_LATEST, {"study": study}).one_or_none()
    if row is None:
        return None
    members = connection.execute(_MEMBERS, {"final_front_id": row.id})
    return FinalFront(row.version, row.created, row.split, tuple(_finalist(member) for member in members))


def _finalist(row: Row[Any]) -> Finalist:
    numbers = {
        name: value for name, value in row._mapping.items() if name not in ("final_front_id", "position", "training_id")
    }
    return Finalist(**{**numbers, "seeds": tuple(row.seeds)})
