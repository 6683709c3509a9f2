"""The facts of trials: rows in architectures, latencies, trainings and retimings. Works inside the caller's
transaction."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from db.rows import architecture_values, latency_record, latency_values, training_values, trial_facts
from db.tables import architectures, latencies, retimings, studies, trainings
from nas.errors import InvalidInputError
from nas.records import Latency, Retiming, TrialFacts
from nas.text import json_hash

_FACTS = (
    sa.select(
        *(
            column
            for column in trainings.columns
            if column.name not in ("id", "rung", "steps", "top1", "loss", "recorded")
        ),
        *(architectures.c[name] for name in ("arch_hash", "spec", "layout", "param_count", "macs")),
        *(
            latencies.c[name]
            for name in ("target", "conditions", "median_ms", "ci_low_ms", "ci_high_ms", "p95_ms", "samples")
        ),
    )
    .select_from(
        trainings.join(architectures)
        .join(latencies, trainings.c.latency_id == latencies.c.id, isouter=True)
        .join(studies)
    )
    .where(studies.c.name == sa.bindparam("study"))
    .order_by(trainings.c.id)  # a study has one writer, which records a trial when it ends
)


class TrainingKey(NamedTuple):
    """The rows that hold what is known of one trial."""

    training_id: int
    latency_id: int | None


def study_row(connection: Connection, study: str) -> Row[Any]:
    """The row of a study.

    Raises:
        InvalidInputError: if there is none of that name.
    """
    row = connection.execute(sa.select(studies).where(studies.c.name == study)).one_or_none()
    if row is None:
        raise InvalidInputError(
            f"there is no study {study!r} in this database; `launch.py status` with the same --storage lists those "
            "there are"
        )
    return row


def insert_trial(connection: Connection, study: Row[Any], facts: TrialFacts) -> None:
    """Add the training row of a trial, and its latency and architecture rows where it has new ones."""
    architecture_id = _architecture_id(connection, study.space, facts)
    latency_id = None
    if facts.latency is not None:
        latency_id = _insert(connection, latencies, latency_values(architecture_id, facts.latency))
    for latency in facts.other_latencies:
        _insert(connection, latencies, latency_values(architecture_id, latency))
    _insert(
        connection,
        trainings,
        {
            **training_values(facts),
            "study_id": study.id,
            "architecture_id": architecture_id,
            "latency_id": latency_id,
            "data_fingerprint": study.data_fingerprint,
            "recipe_hash": json_hash(study.recipe),
        },
    )


def has_trial(connection: Connection, study: str, trial_number: int) -> bool:
    """Whether the trial has recorded facts."""
    wanted = (
        sa.select(trainings.c.id).join(studies).where(studies.c.name == study, trainings.c.trial_number == trial_number)
    )
    return connection.execute(wanted).first() is not None


def select_trials(connection: Connection, study: str, *wanted: sa.ColumnElement[bool]) -> list[TrialFacts]:
    """Those that are wanted, all by default, in the order in which they ended; empty for an unknown study."""
    rows = connection.execute(_FACTS.where(*wanted), {"study": study})
    return [trial_facts(row) for row in rows]


def insert_latency(connection: Connection, study_id: int, trial_number: int, latency: Latency) -> int:
    """Add a timing of a trial's architecture; the latency that the trial itself was told with stays.

    Returns:
        The id of its row.

    Raises:
        InvalidInputError: if the trial has no facts.
    """
    wanted = sa.select(trainings.c.architecture_id).where(
        trainings.c.study_id == study_id, trainings.c.trial_number == trial_number
    )
    architecture_id = connection.scalar(wanted)
    if architecture_id is None:
        raise InvalidInputError(f"trial {trial_number} has no recorded facts in this study")
    return _insert(connection, latencies, latency_values(architecture_id, latency))


def has_latency(connection: Connection, latency: Latency) -> bool:
    """Whether this very timing is recorded; no two agree in every digit."""
    numbers = ("median_ms", "ci_low_ms", "ci_high_ms", "p95_ms", "samples")
    same = [latencies.c[name] == getattr(latency, name) for name in numbers]
    return connection.execute(sa.select(latencies.c.id).where(*same)).first() is not None


def select_timings(connection: Connection, study: str) -> dict[int, list[Latency]]:
    """Trial number -> every timing of its architecture, on whatever target and for whichever study, oldest first; no
    retiming."""
    wanted = (
        sa.select(trainings.c.trial_number, latencies)
        .select_from(
            trainings.join(studies).join(latencies, latencies.c.architecture_id == trainings.c.architecture_id)
        )
        .where(studies.c.name == study, latencies.c.id.not_in(sa.select(retimings.c.latency_id)))
        .order_by(latencies.c.id)
    )
    found: dict[int, list[Latency]] = {}
    for row in connection.execute(wanted):
        found.setdefault(row.trial_number, []).append(latency_record(row))
    return found


def insert_retiming(connection: Connection, study_id: int, retiming: Retiming) -> None:
    """Add a sitting.

    Raises:
        InvalidInputError: if one of the trials has no facts.
    """
    keys = training_keys(connection, study_id, list(retiming.latencies))
    sittings = sa.select(sa.func.max(retimings.c.sitting)).select_from(retimings.join(trainings))
    last = connection.scalar(sittings.where(trainings.c.study_id == study_id)) or 0
    for number, latency in retiming.latencies.items():
        latency_id = insert_latency(connection, study_id, number, latency)
        values = {"latency_id": latency_id, "training_id": keys[number].training_id, "sitting": last + 1}
        connection.execute(sa.insert(retimings), values)


def select_retimings(connection: Connection, study: str) -> list[Retiming]:
    """Every sitting of a study, oldest first."""
    wanted = (
        sa.select(retimings.c.sitting, trainings.c.trial_number, latencies)
        .select_from(retimings.join(trainings).join(studies).join(latencies, latencies.c.id == retimings.c.latency_id))
        .where(studies.c.name == study)
        .order_by(latencies.c.id)
    )
    sittings: dict[int, dict[int, Latency]] = {}
    for row in connection.execute(wanted):
        sittings.setdefault(row.sitting, {})[row.trial_number] = latency_record(row)
    return [Retiming(next(iter(timed.values())).target, timed) for timed in sittings.values()]


def training_keys(connection: Connection, study_id: int, trial_numbers: Sequence[int]) -> dict[int, TrainingKey]:
    """Trial number -> the rows of its facts.

    Raises:
        InvalidInputError: if one of the trials has no facts.
    """
    wanted = sa.select(trainings.c.id, trainings.c.trial_number, trainings.c.latency_id).where(
        trainings.c.study_id == study_id, trainings.c.trial_number.in_(trial_numbers)
    )
    keys = {row.trial_number: TrainingKey(row.id, row.latency_id) for row in connection.execute(wanted)}
    missing = sorted(set(trial_numbers) - keys.keys())
    if missing:
        raise InvalidInputError(
            f"trial {missing[0]} has no recorded facts in this study; `launch.py pareto` lists trials that have"
        )
    return keys


def _architecture_id(connection: Connection, space: str, facts: TrialFacts) -> int:
    values = architecture_values(space, facts)
    for row in connection.execute(sa.select(architectures).where(architectures.c.arch_hash == facts.arch_hash)):
        if all(row._mapping[name] == value for name, value in values.items()):
            return int(row.id)
    return _insert(connection, architectures, values)


def _insert(connection: Connection, table: sa.Table, values: dict[str, Any]) -> int:
    key = connection.execute(sa.insert(table), values).inserted_primary_key
    assert key is not None
    return int(key[0])
