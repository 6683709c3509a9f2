"""SqlStore: nas.protocols.Store on SQLite or PostgreSQL."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from db.engine import make_engine, parse_url, reading, writing
from db.errors import translated_errors
from db.exports import insert_export, select_exports
from db.finals import insert_final_front, insert_final_training, select_final_front, select_final_trainings
from db.fronts import insert_front, latest_front_faults, select_front, snapshot_faults
from db.lease import IsAlive, release_lease, renew_lease, select_lease, take_lease
from db.rows import study_record, study_values, weights_values
from db.schema import check_version, ensure_schema
from db.tables import studies, trainings
from db.trials import (
    insert_latency,
    insert_retiming,
    insert_trial,
    select_retimings,
    select_timings,
    select_trials,
    study_row,
    training_keys,
)
from nas.errors import InvalidInputError, NasError
from nas.processes import is_alive
from nas.records import Export, FinalFront, FinalTraining, Front, Latency, Lease, Retiming, StudyRecord, TrialFacts


def open_store(url: str, *, create: bool = True) -> "SqlStore":
    """Connect, and bring our tables up to date.

    Args:
        url: sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME.
        create: True to make a missing SQLite file, its folder and our tables; False, for commands that only read, to
            refuse instead and leave nothing behind.

    Raises:
        InvalidInputError: if the URL cannot be used, the server does not answer, or the database is newer than this
            code or older than 0.1.0, and then it is untouched; the message has no password.
    """
    if create:
        _look_at_file(url)
    engine = make_engine(url, create=create)
    try:
        ensure_schema(engine, create=create)
    except NasError:
        engine.dispose()
        raise
    return SqlStore(engine)


def _look_at_file(url: str) -> None:
    """Refuse a SQLite file of another version before a writing connection changes its journal mode."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or not Path(str(parsed.database)).is_file():
        return
    engine = make_engine(url, create=False)
    try:
        check_version(engine)
    finally:
        engine.dispose()


class SqlStore:
    """Facts in, fronts out (nas.protocols.Store, which says what each method does).

    Every method is one transaction and leaves none open. May be used by several threads; a study has one writing
    process, which holds its lease. Facts that are recorded are never changed, except that the weights of a trial may be
    forgotten.
    """

    def __init__(self, engine: Engine, is_alive: IsAlive = is_alive) -> None:
        """Use a database that has our tables, over an engine of db.engine.make_engine; most callers want open_store."""
        self._engine = engine
        self._reader = reading(engine)
        self._writer = writing(engine)
        self._is_alive = is_alive

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._engine.dispose()

    def create_study(self, study: StudyRecord) -> None:
        try:
            with self._writing() as connection:
                connection.execute(sa.insert(studies), study_values(study))
        except IntegrityError as error:
            raise InvalidInputError(
                f"a study named {study.name!r} exists: resume it, or give another name (--study)"
            ) from error

    def study(self, name: str) -> StudyRecord | None:
        with self._reading() as connection:
            row = connection.execute(sa.select(studies).where(studies.c.name == name)).one_or_none()
        return None if row is None else study_record(row)

    def studies(self) -> Sequence[StudyRecord]:
        with self._reading() as connection:
            rows = connection.execute(sa.select(studies).order_by(studies.c.created, studies.c.id)).all()
        return [study_record(row) for row in rows]

    def acquire_lease(self, study: str, lease: Lease, stale_after_s: float) -> Lease | None:
        while True:
            try:
                with self._writing() as connection:
                    return take_lease(connection, study, lease, stale_after_s, self._is_alive)
            except IntegrityError:
                continue  # another process was quicker; the next look finds its lease

    def lease(self, study: str) -> Lease | None:
        with self._reading() as connection:
            owner = select_lease(connection, study)
        dead = owner is not None and owner.host == socket.gethostname() and not self._is_alive(owner.process)
        return None if dead else owner

    def renew_lease(self, study: str, lease: Lease) -> None:
        with self._writing() as connection:
            renew_lease(connection, study, lease)

    def release_lease(self, study: str, lease: Lease) -> None:
        with self._writing() as connection:
            release_lease(connection, study, lease)

    def record(self, study: str, facts: TrialFacts, front: Front | None) -> None:
        try:
            with self._writing() as connection:
                row = study_row(connection, study)
                insert_trial(connection, row, facts)
                if front is not None:
                    insert_front(connection, row.id, front)
        except IntegrityError as error:
            version = "" if front is None else f" or front {front.version}"
            raise NasError(
                f"trial {facts.trial_number}{version} of study {study!r} is recorded already; facts are stored once"
            ) from error

    def record_latency(self, study: str, trial_number: int, latency: Latency) -> None:
        with self._writing() as connection:
            insert_latency(connection, study_row(connection, study).id, trial_number, latency)

    def timings(self, study: str) -> dict[int, list[Latency]]:
        with self._reading() as connection:
            return select_timings(connection, study)

    def record_retiming(self, study: str, retiming: Retiming) -> None:
        with self._writing() as connection:
            insert_retiming(connection, study_row(connection, study).id, retiming)

    def retimings(self, study: str) -> Sequence[Retiming]:
        with self._reading() as connection:
            return select_retimings(connection, study)

    def forget_weights(self, study: str, trial_numbers: Sequence[int]) -> None:
        with self._writing() as connection:
            keys = training_keys(connection, study_row(connection, study).id, trial_numbers).values()
            forgotten = trainings.c.id.in_([key.training_id for key in keys])
            connection.execute(sa.update(trainings).where(forgotten), weights_values(None))

    def facts(self, study: str) -> Iterator[TrialFacts]:
        with self._reading() as connection:
            recorded = select_trials(connection, study)
        return iter(recorded)

    def front(self, study: str) -> Front | None:
        with self._reading() as connection:
            return select_front(connection, study)

    def check_fronts(self, study: str) -> list[str]:
        with self._reading() as connection:
            recorded = study_record(study_row(connection, study))
            facts = select_trials(connection, study)
            latest = select_front(connection, study)
            return latest_front_faults(recorded, facts, latest) + snapshot_faults(connection, recorded)

    def record_final_training(self, study: str, training: FinalTraining) -> None:
        try:
            with self._writing() as connection:
                insert_final_training(connection, study_row(connection, study).id, training)
        except IntegrityError as error:
            raise NasError(
                f"the final training of trial {training.trial_number} with seed {training.seed} is recorded "
                "already; facts are stored once"
            ) from error

    def final_trainings(self, study: str) -> Sequence[FinalTraining]:
        with self._reading() as connection:
            return select_final_trainings(connection, study)

    def record_final_front(self, study: str, front: FinalFront) -> None:
        try:
            with self._writing() as connection:
                insert_final_front(connection, study_row(connection, study).id, front)
        except IntegrityError as error:
            raise NasError(
                f"final front {front.version} of study {study!r} is recorded already; facts are stored once"
            ) from error

    def final_front(self, study: str) -> FinalFront | None:
        with self._reading() as connection:
            return select_final_front(connection, study)

    def record_export(self, study: str, trial_number: int, name: str, path: str) -> None:
        with self._writing() as connection:
            insert_export(connection, study_row(connection, study).id, trial_number, name, path)

    def exports(self, study: str) -> Sequence[Export]:
        with self._reading() as connection:
            return select_exports(connection, study)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated_errors(self._engine.url), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with translated_errors(self._engine.url), self._writer.begin() as connection:
            yield connection
