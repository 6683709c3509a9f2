"""What was submitted to the service, and what became of it. A state is changed by comparing and swapping it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from db.engine import reading, writing
from db.errors import translated_errors
from db.service_tables import jobs, submissions
from nas.records import JSON

State = Literal["queued", "running", "stopping", "stopped", "finished", "failed"]
ACTIVE: tuple[State, ...] = ("running", "stopping")
"""States in which a process works, or did when it was last looked at."""
T = TypeVar("T", "Submission", "Job")


@dataclass(frozen=True, slots=True)
class Submission:
    """A study that somebody asked the service for."""

    id: int
    study: str
    owner: str
    """Name of the token that submitted it."""
    options: JSON
    """Options of the search, by their names on the command line with underscores."""
    state: State
    after_stop: State | None
    """The state that follows once a search that is stopping has ended."""
    created: datetime
    queued: datetime
    """When it came into the queue last."""
    started: datetime | None
    ended: datetime | None
    attempts: int
    """Starts in a row that ended without a new evaluation, the last one included."""
    evaluated_before: int
    """Architectures that were evaluated when it was last started."""
    exit_line: str | None
    """How the last process ended, in its own words."""
    gpus: Mapping[str, float]
    """GPU -> share that is taken; empty while none is."""
    revision: int
    """Number of changes of this row."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work on a recorded study that a caller does not wait for."""

    id: str
    kind: str
    study: str
    owner: str
    options: JSON
    state: State
    entry: str | None
    """Name of the zoo's entry that it wrote."""
    message: str | None
    created: datetime
    ended: datetime | None


_PENDING = ("queued", *ACTIVE)
_WORK = sa.select(sa.or_(*(sa.exists().where(table.c.state.in_(_PENDING)) for table in (submissions, jobs))))
"""Made once, because it is asked twice a second: to make it takes as long as to run it."""


class Submissions:
    """The rows of submissions and jobs. Every method is one transaction; may be used by several threads."""

    def __init__(self, engine: Engine) -> None:
        """Use a database that has the service's tables."""
        self._engine = engine
        self._reader = reading(engine)
        self._writer = writing(engine)

    def add(self, study: str, owner: str, options: JSON) -> bool:
        """Queue a new study.

        Returns:
            False where the name is taken.
        """
        now = datetime.now(UTC)
        values = {
            "study": study,
            "owner": owner,
            "options": options,
            "state": "queued",
            "created": now,
            "queued": now,
            "attempts": 0,
            "evaluated_before": 0,
            "gpus": {},
            "revision": 1,
        }
        try:
            with translated_errors(self._engine.url), self._writer.begin() as connection:
                connection.execute(sa.insert(submissions), values)
        except IntegrityError:
            return False
        return True

    def one(self, study: str) -> Submission | None:
        """The submission of a study; None for one that nobody submitted."""
        found = self._select(submissions, Submission, submissions.c.study == study)
        return found[0] if found else None

    def all(self, *states: State) -> list[Submission]:
        """Those in the states, or all of them, oldest first."""
        return self._select(submissions, Submission, *([submissions.c.state.in_(states)] if states else []))

    def has_work(self) -> bool:
        """Whether anything waits or runs."""
        with translated_errors(self._engine.url), self._reader.begin() as connection:
            return bool(connection.scalar(_WORK))

    def last_starts(self) -> dict[str, datetime]:
        """Owner -> when a search of theirs was started last."""
        started = submissions.c.started
        wanted = sa.select(submissions.c.owner, sa.func.max(started)).where(started.is_not(None))
        with translated_errors(self._engine.url), self._reader.begin() as connection:
            rows = connection.execute(wanted.group_by(submissions.c.owner)).all()
        return {row[0]: row[1] for row in rows}

    def change(self, submission: Submission, **values: Any) -> bool:
        """Change a row if nobody has changed it since it was read.

        Args:
            submission: as it was read.
            values: column -> its new value.

        Returns:
            Whether it was changed.
        """
        unchanged = (submissions.c.id == submission.id, submissions.c.revision == submission.revision)
        values["revision"] = submission.revision + 1
        return self._execute(sa.update(submissions).where(*unchanged).values(values)) == 1

    def remove(self, submission: Submission) -> bool:
        """Remove a row if nobody has changed it since it was read; says whether it was."""
        unchanged = (submissions.c.id == submission.id, submissions.c.revision == submission.revision)
        return self._execute(sa.delete(submissions).where(*unchanged)) == 1

    def add_job(self, job: Job) -> None:
        """Queue a job."""
        self._execute(sa.insert(jobs).values({name: getattr(job, name) for name in Job.__slots__}))

    def job(self, key: str) -> Job | None:
        """The job of that id."""
        found = self._select(jobs, Job, jobs.c.id == key)
        return found[0] if found else None

    def jobs(self, *states: State) -> list[Job]:
        """Those in the states, oldest first."""
        return self._select(jobs, Job, jobs.c.state.in_(states))

    def jobs_of(self, study: str) -> list[Job]:
        """Those of a study, oldest first."""
        return self._select(jobs, Job, jobs.c.study == study)

    def remove_jobs(self, study: str) -> None:
        """Remove the rows of a study's jobs."""
        self._execute(sa.delete(jobs).where(jobs.c.study == study))

    def change_job(self, job: Job, **values: Any) -> bool:
        """Change a job if it is still in the state in which it was read; says whether it was."""
        unchanged = (jobs.c.id == job.id, jobs.c.state == job.state)
        return self._execute(sa.update(jobs).where(*unchanged).values(values)) == 1

    def _select(self, table: sa.Table, record: type[T], *conditions: sa.ColumnElement[bool]) -> list[T]:
        wanted = sa.select(table).where(*conditions).order_by(table.c.created, table.c.id)
        with translated_errors(self._engine.url), self._reader.begin() as connection:
            return [record(**row) for row in self._mappings(connection, wanted)]

    @staticmethod
    def _mappings(connection: Connection, wanted: sa.Select[Any]) -> Sequence[Mapping[str, Any]]:
        return connection.execute(wanted).mappings().all()  # type: ignore[return-value]

    def _execute(self, statement: Any) -> int:
        with translated_errors(self._engine.url), self._writer.begin() as connection:
            return int(connection.execute(statement).rowcount)
