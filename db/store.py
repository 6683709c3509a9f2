"""SqlStore: nas.protocols.Store on SQLite or PostgreSQL."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from db.engine import make_engine, make_reading_engine, may_write, reading, redact_url, writing
from db.errors import translated_errors
from db.exports import insert_export, select_exports
from db.finals import insert_final_front, insert_final_training, select_final_front, select_final_trainings
from db.fronts import insert_front, latest_front_faults, select_front, snapshot_faults
from db.lease import is_abandoned, release_lease, renew_lease, require_lease, select_lease, take_lease
from db.look import look
from db.rows import study_record, study_values, weights_values
from db.schema import SCHEMA_VERSION, ensure_schema
from db.tables import studies, trainings
from db.trials import (
    has_latency,
    has_trial,
    insert_latency,
    insert_retiming,
    insert_trial,
    select_retimings,
    select_timings,
    select_trials,
    study_row,
    training_keys,
)
from nas.backoff import NO_WAITING, Backoff
from nas.errors import InvalidInputError, NasError, ReadOnlyError
from nas.processes import is_dead, machine
from nas.records import (
    Export,
    FinalFront,
    FinalTraining,
    Front,
    Latency,
    Lease,
    Retiming,
    Schema,
    StudyRecord,
    TrialFacts,
)

T = TypeVar("T")


def open_store(
    url: str, *, create: bool = True, beside: Sequence[Schema] = (), backoff: Backoff = NO_WAITING
) -> "SqlStore":
    """Look at a database, connect, and bring our tables up to date where it may be written.

    Args:
        url: sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME.
        create: True to make a missing SQLite file, its folder and our tables; False to refuse instead and leave nothing
            behind. A file that may not be written is then only read.
        beside: other programs whose tables share the database.
        backoff: how long an outage is waited for, once the database is open.

    Raises:
        InvalidInputError: if the URL cannot be used, the server does not answer, or tables are of another program, or
            of another version; then the database is untouched. The message has no password.
        ReadOnlyError: if it must be written, and may not be.
    """
    version = look(url, beside, create=create)
    if version is None and not create:
        make_engine(url, create=False).dispose()  # refuses a file that is not there
        raise InvalidInputError(
            f"the database {redact_url(url)} holds no study: name the one that a search has written (--storage)"
        )
    if version is not None and not may_write(url):
        return _read_only_store(url, version, create)
    engine = make_engine(url, create=create)
    try:
        ensure_schema(engine)
    except NasError:
        engine.dispose()
        raise
    return SqlStore(engine, backoff)


def _read_only_store(url: str, version: str, create: bool) -> "SqlStore":
    shown = redact_url(url)
    if create:
        require_writable(url)
    if version != SCHEMA_VERSION:
        raise ReadOnlyError(
            f"the database {shown} has tables of version {version} and cannot be upgraded, as it may not be written: "
            "see who may write the file and its folder"
        )
    return SqlStore(make_reading_engine(url))


def require_writable(url: str) -> None:
    """Refuse a SQLite file that this user may not write.

    Raises:
        ReadOnlyError: if it is one.
    """
    if not may_write(url):
        raise ReadOnlyError(f"cannot write the database {redact_url(url)}: see who may write the file and its folder")


class SqlStore:
    """Facts in, fronts out (nas.protocols.Store, which says what each method does).

    Every method is one transaction and leaves none open. May be used by several threads; a study has one writing
    process, which holds its lease, and what it writes proves in the same transaction that it still does. Facts that are
    recorded are never changed, except that the weights of a trial may be forgotten.

    In an outage a method waits as long as the store's backoff says. An attempt may have been committed although its
    answer was lost, so each later one looks first whether that is so.
    """

    def __init__(self, engine: Engine, backoff: Backoff = NO_WAITING) -> None:
        """Use a database that has our tables, over an engine of db.engine.make_engine; most callers want open_store."""
        self._engine = engine
        self._backoff = backoff
        self._reader = reading(engine)
        self._writer = writing(engine)
        self._leases: dict[str, Lease] = {}

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._engine.dispose()

    def create_study(self, study: StudyRecord) -> None:
        def insert(connection: Connection) -> None:
            connection.execute(sa.insert(studies), study_values(study))

        def is_done(connection: Connection) -> bool:
            return connection.scalar(sa.select(studies.c.name).where(studies.c.uid == study.uid)) is not None

        try:
            self._write(study.name, insert, is_done)
        except IntegrityError as error:
            raise InvalidInputError(
                f"a study named {study.name!r} exists: resume it, or give another name (--study)"
            ) from error

    def study(self, name: str) -> StudyRecord | None:
        wanted = sa.select(studies).where(studies.c.name == name)
        row = self._read(lambda connection: connection.execute(wanted).one_or_none())
        return None if row is None else study_record(row)

    def studies(self) -> Sequence[StudyRecord]:
        wanted = sa.select(studies).order_by(studies.c.created, studies.c.id)
        rows = self._read(lambda connection: connection.execute(wanted).all())
        return [study_record(row) for row in rows]

    def acquire_lease(self, study: str, lease: Lease, silent: Lease | None = None) -> Lease | None:
        former: list[Lease | None] = []

        def take(connection: Connection) -> None:
            former.append(take_lease(connection, study, lease, silent, is_dead))

        while True:
            try:
                self._backoff.until_done(lambda: self._once(self._writer, take))
                break
            except IntegrityError:
                continue  # another process was quicker; the next look finds its lease
        self._leases[study] = lease
        return next((owner for owner in former if owner is not None), None)

    def lease(self, study: str) -> Lease | None:
        owner = self._read(lambda connection: select_lease(connection, study))
        return None if owner is None or is_abandoned(owner, machine(), is_dead) else owner

    def renew_lease(self, study: str, lease: Lease) -> None:
        self._once(self._writer, lambda connection: renew_lease(connection, study, lease))

    def release_lease(self, study: str, lease: Lease) -> None:
        self._leases.pop(study, None)
        self._write(study, lambda connection: release_lease(connection, study, lease))

    def record(self, study: str, facts: TrialFacts, front: Front | None) -> None:
        def insert(connection: Connection) -> None:
            row = study_row(connection, study)
            insert_trial(connection, row, facts)
            if front is not None:
                insert_front(connection, row.id, front)

        try:
            self._write(study, insert, lambda connection: has_trial(connection, study, facts.trial_number))
        except IntegrityError as error:
            version = "" if front is None else f" or front {front.version}"
            raise NasError(
                f"trial {facts.trial_number}{version} of study {study!r} is recorded already; facts are stored once"
            ) from error

    def record_latency(self, study: str, trial_number: int, latency: Latency) -> None:
        def insert(connection: Connection) -> None:
            insert_latency(connection, study_row(connection, study).id, trial_number, latency)

        self._write(study, insert, lambda connection: has_latency(connection, latency))

    def timings(self, study: str) -> dict[int, list[Latency]]:
        return self._read(lambda connection: select_timings(connection, study))

    def record_retiming(self, study: str, retiming: Retiming) -> None:
        def insert(connection: Connection) -> None:
            insert_retiming(connection, study_row(connection, study).id, retiming)

        self._write(study, insert, lambda connection: retiming in select_retimings(connection, study))

    def retimings(self, study: str) -> Sequence[Retiming]:
        return self._read(lambda connection: select_retimings(connection, study))

    def forget_weights(self, study: str, trial_numbers: Sequence[int]) -> None:
        def forget(connection: Connection) -> None:
            keys = training_keys(connection, study_row(connection, study).id, trial_numbers).values()
            forgotten = trainings.c.id.in_([key.training_id for key in keys])
            connection.execute(sa.update(trainings).where(forgotten), weights_values(None))

        self._write(study, forget)

    def facts(self, study: str) -> Iterator[TrialFacts]:
        return iter(self._read(lambda connection: select_trials(connection, study)))

    def front(self, study: str) -> Front | None:
        return self._read(lambda connection: select_front(connection, study))

    def check_fronts(self, study: str) -> list[str]:
        def check(connection: Connection) -> list[str]:
            recorded = study_record(study_row(connection, study))
            facts = select_trials(connection, study)
            latest = select_front(connection, study)
            return latest_front_faults(recorded, facts, latest) + snapshot_faults(connection, recorded)

        return self._read(check)

    def record_final_training(self, study: str, training: FinalTraining) -> None:
        def insert(connection: Connection) -> None:
            insert_final_training(connection, study_row(connection, study).id, training)

        def is_done(connection: Connection) -> bool:
            return any(known.key == training.key for known in select_final_trainings(connection, study))

        try:
            self._write(study, insert, is_done)
        except IntegrityError as error:
            raise NasError(
                f"the final training of trial {training.trial_number} with seed {training.seed} is recorded "
                "already; facts are stored once"
            ) from error

    def final_trainings(self, study: str) -> Sequence[FinalTraining]:
        return self._read(lambda connection: select_final_trainings(connection, study))

    def record_final_front(self, study: str, front: FinalFront) -> None:
        def insert(connection: Connection) -> None:
            insert_final_front(connection, study_row(connection, study).id, front)

        try:
            self._write(study, insert, lambda connection: select_final_front(connection, study) == front)
        except IntegrityError as error:
            raise NasError(
                f"final front {front.version} of study {study!r} is recorded already; facts are stored once"
            ) from error

    def final_front(self, study: str) -> FinalFront | None:
        return self._read(lambda connection: select_final_front(connection, study))

    def record_export(self, study: str, trial_number: int, name: str, path: str) -> None:
        def insert(connection: Connection) -> None:
            insert_export(connection, study_row(connection, study).id, trial_number, name, path)

        self._write(study, insert)

    def exports(self, study: str) -> Sequence[Export]:
        return self._read(lambda connection: select_exports(connection, study))

    def _read(self, work: Callable[[Connection], T]) -> T:
        return self._backoff.until_done(lambda: self._once(self._reader, work))

    def _write(
        self,
        study: str,
        work: Callable[[Connection], None],
        is_done: Callable[[Connection], bool] = lambda connection: False,
    ) -> None:
        """Write once: `is_done` looks whether an earlier attempt went through. Work that may be repeated needs none."""
        tried = False

        def attempt(connection: Connection) -> None:
            nonlocal tried
            if study in self._leases:
                require_lease(connection, study, self._leases[study])
            done_before = tried and is_done(connection)
            tried = True
            if not done_before:
                work(connection)

        self._backoff.until_done(lambda: self._once(self._writer, attempt))

    def _once(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        with translated_errors(self._engine.url), engine.begin() as connection:
            return work(connection)
