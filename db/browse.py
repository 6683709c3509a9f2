"""Reading a study in parts: pages of trials, counts, and what is new since a place that was reached before.

A study may have ten thousand trials, and many people look at it at once: nothing here reads more than it gives.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from db.engine import looking, reading
from db.errors import translated_errors
from db.tables import architectures, final_fronts, fronts, latencies, retimings, studies, trainings
from db.trials import select_trials
from nas.records import COUNTED_STATES, JSON, ShortFacts, TrialFacts

_TRIAL = (
    trainings.c.id,
    trainings.c.trial_number,
    trainings.c.state,
    trainings.c.reason,
    trainings.c.top1,
    trainings.c.duration_s,
    trainings.c.device,
    trainings.c.worker,
    trainings.c.recorded,
    trainings.c.weights_path,
    architectures.c.arch_hash,
    architectures.c.layout,
    architectures.c.param_count,
    architectures.c.macs,
    latencies.c.median_ms,
    latencies.c.ci_low_ms,
    latencies.c.ci_high_ms,
)
COSTS = {
    "latency_ms": latencies.c.median_ms,
    "param_count": architectures.c.param_count,
    "macs": architectures.c.macs,
}
"""Cost objective -> where it stands."""
_OUTCOME = (
    trainings.c.trial_number,
    architectures.c.arch_hash,
    trainings.c.state,
    trainings.c.top1,
    trainings.c.duration_s,
    *COSTS.values(),
)
_JOINED = trainings.join(architectures).join(latencies, trainings.c.latency_id == latencies.c.id, isouter=True)
_NAMES = tuple(column.name for column in _TRIAL)
_PAGE = sa.select(*_TRIAL).select_from(_JOINED).where(trainings.c.id.in_(sa.bindparam("rows", expanding=True)))
"""Made once: to make it takes as long as to run it."""
_NEWEST = studies.c.id, trainings.c.id, fronts.c.id, final_fronts.c.id, latencies.c.id
_MARK = sa.select(*(sa.select(sa.func.max(column)).scalar_subquery() for column in _NEWEST))
_SNAPSHOT = sa.cast(sa.func.pg_current_snapshot(), sa.Text)
_STUDY: sa.BindParameter[int] = sa.bindparam("study_id")
_TRAINED = trainings.c.study_id == _STUDY
_TIMED = sa.exists().where(_TRAINED, trainings.c.architecture_id == latencies.c.architecture_id)
_STAMP = sa.select(
    sa.select(sa.func.max(trainings.c.id)).where(_TRAINED).scalar_subquery(),
    sa.select(sa.func.max(fronts.c.version)).where(fronts.c.study_id == _STUDY).scalar_subquery(),
    sa.select(sa.func.max(final_fronts.c.version)).where(final_fronts.c.study_id == _STUDY).scalar_subquery(),
    sa.select(sa.func.max(latencies.c.id))
    .where(latencies.c.id > sa.bindparam("timed_before"), _TIMED)
    .scalar_subquery(),
    sa.select(sa.func.max(retimings.c.latency_id))
    .select_from(retimings.join(trainings))
    .where(_TRAINED)
    .scalar_subquery(),
)
SORTS: Mapping[str, sa.ColumnElement[Any]] = {
    "number": trainings.c.trial_number,
    "top1": trainings.c.top1,
    **COSTS,
    "duration": trainings.c.duration_s,
}
"""What trials can be sorted by."""
LARGEST_ROW = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Mark:
    """Changes whenever anything that a study rests on is recorded, whatever the study: cheap to look at."""

    newest: tuple[int, ...]
    """Row of each table, that of the studies first; 0 for an empty one."""
    snapshot: str
    """What a server sees, as of PostgreSQL: there a row may become visible behind one with a larger id."""

    @property
    def of_studies(self) -> tuple[int, str]:
        """Changes whenever a study is created."""
        return self.newest[0], self.snapshot


@dataclass(frozen=True, slots=True)
class Stamp:
    """Changes whenever something of a study is recorded."""

    study_id: int
    training_id: int
    """Newest row of a trial; 0 without one."""
    front_version: int
    final_version: int
    latency_id: int
    """Newest timing of an architecture of the study."""
    retimed_id: int
    """Newest timing of a sitting in which the front was timed again."""

    @property
    def of_front(self) -> tuple[int, ...]:
        """Changes whenever the front does, or was timed again: seldom, beside the rest."""
        return self.study_id, self.front_version, self.retimed_id


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of a study without its facts."""

    id: int
    name: str
    cost_objective: str
    budget: int | None
    """As given when the study was created."""
    created: datetime


@dataclass(frozen=True, slots=True)
class TrialFilter:
    """Which trials are wanted, and in which order."""

    state: str | None = None
    mixer: str | None = None
    """Name of a mixer of one of its blocks."""
    sort: str = "number"
    """A key of SORTS."""
    descending: bool = False


class Rank(NamedTuple):
    """Where a trial stands in an order."""

    value: float
    """What it is sorted by, negative where the largest comes first; trials without the value come last."""
    number: int
    row: int


class Browser:
    """Reads studies. Every method is one transaction; may be used by several threads."""

    def __init__(self, engine: Engine) -> None:
        """Use a database that has our tables."""
        self._engine = engine
        self._reader = reading(engine)
        self._looker = looking(engine)
        # A SQLite file has one writer at a time, so its newest rows say it all.
        snapshot = _SNAPSHOT if engine.dialect.name == "postgresql" else sa.literal("")
        self._mark = _MARK.add_columns(snapshot)

    def outlines(self) -> list[Outline]:
        """Every study, oldest first."""
        wanted = sa.select(studies.c.id, studies.c.name, studies.c.objectives, studies.c.config, studies.c.created)
        with self._looking() as connection:
            rows = connection.execute(wanted.order_by(studies.c.created, studies.c.id)).all()
        return [_outline(row) for row in rows]

    def outline(self, study: str) -> Outline | None:
        """One study; None for an unknown one."""
        wanted = sa.select(studies.c.id, studies.c.name, studies.c.objectives, studies.c.config, studies.c.created)
        with self._looking() as connection:
            row = connection.execute(wanted.where(studies.c.name == study)).one_or_none()
        return None if row is None else _outline(row)

    def counts(self, study_id: int, after: int = 0, last: int = LARGEST_ROW) -> dict[str, int]:
        """Trials by state, of those behind one row and up to another."""
        wanted = sa.select(trainings.c.state, sa.func.count()).where(*_between(study_id, after, last))
        with self._looking() as connection:
            rows = connection.execute(wanted.group_by(trainings.c.state)).all()
        return {row[0]: row[1] for row in rows}

    def evaluated(self, study: str) -> int:
        """Architectures that count towards the budget; 0 for an unknown study."""
        wanted = (
            sa.select(sa.func.count())
            .select_from(trainings.join(studies))
            .where(studies.c.name == study, trainings.c.state.in_(COUNTED_STATES))
        )
        with self._looking() as connection:
            return int(connection.scalar(wanted) or 0)

    def mark(self) -> Mark:
        """What to compare, to know whether any stamp may have changed. Takes microseconds with any number of trials."""
        with self._looking() as connection:
            *newest, snapshot = connection.execute(self._mark).one()
        return Mark(tuple(row or 0 for row in newest), snapshot)

    def stamp(self, study_id: int, before: Stamp | None = None) -> Stamp:
        """What to compare, to know whether anything new was recorded of a study.

        Args:
            study_id: row of the study.
            before: an earlier one; only what was timed later is read then.
        """
        timed_before = 0 if before is None else before.latency_id
        with self._looking() as connection:
            row = connection.execute(_STAMP, {"study_id": study_id, "timed_before": timed_before}).one()
        training_id, front_version, final_version, latency_id, retimed_id = (value or 0 for value in row)
        newest_timing = max(latency_id, timed_before)
        return Stamp(study_id, training_id, front_version, final_version, newest_timing, retimed_id)

    def facts_of(self, study: str, numbers: Sequence[int]) -> list[TrialFacts]:
        """Some trials whole, in the order in which they ended; unknown numbers are left out."""
        with self._looking() as connection:
            return select_trials(connection, study, trainings.c.trial_number.in_(numbers))

    def outcomes(self, study_id: int, after: int, last: int) -> list[ShortFacts]:
        """The trials behind one row and up to another, in the order in which they ended."""
        wanted = sa.select(*_OUTCOME).select_from(_JOINED).where(*_between(study_id, after, last))
        with self._looking() as connection:
            rows = connection.execute(wanted.order_by(trainings.c.id)).all()
        found = []
        for number, arch_hash, state, top1, duration_s, *costs in rows:
            found.append(ShortFacts(number, arch_hash, state, top1, duration_s, dict(zip(COSTS, costs, strict=True))))
        return found

    def order(self, study_id: int, wanted: TrialFilter, after: int = 0, last: int = LARGEST_ROW) -> list[Rank]:
        """Wanted trials behind one row and up to another, in no order: sorted, pages are cut from them."""
        columns = (SORTS[wanted.sort], trainings.c.trial_number, trainings.c.id)
        found = sa.select(*columns).select_from(_JOINED).where(*_between(study_id, after, last), *_conditions(wanted))
        with self._looking() as connection:
            rows = connection.execute(found).all()
        sign = -1 if wanted.descending else 1
        return [Rank(math.inf if value is None else sign * value, number, row) for value, number, row in rows]

    def trials(self, rows: Sequence[int]) -> list[JSON]:
        """Trials by their rows, in that order; what is gone is left out."""
        with self._looking() as connection:
            found = {row[0]: row for row in connection.execute(_PAGE, {"rows": rows})}
        return [dict(zip(_NAMES, found[row], strict=True)) for row in rows if row in found]

    def with_weights(self, rows: Sequence[int]) -> set[int]:
        """The rows, of those given, of trials whose weights are kept: all that may change of a trial that has ended."""
        if not rows:
            return set()
        # The rows stand in the text: parameters for any number of them take longer to make than this takes to run.
        numbers = ",".join(str(int(row)) for row in rows)
        wanted = f"SELECT id FROM trainings WHERE id IN ({numbers}) AND weights_path IS NOT NULL"
        with self._looking() as connection:
            return set(connection.exec_driver_sql(wanted).scalars())

    def trials_after(self, study_id: int, training_id: int, limit: int) -> list[JSON]:
        """The next trials behind a row, in the order in which they ended; each with how many counted ones there are
        with it."""
        page = sa.select(*_TRIAL).select_from(_JOINED)
        page = page.where(trainings.c.study_id == study_id, trainings.c.id > training_id)
        counted = sa.select(sa.func.count()).where(
            trainings.c.study_id == study_id,
            trainings.c.id <= training_id,
            trainings.c.state.in_(COUNTED_STATES),
        )
        with self._reading() as connection:
            rows = connection.execute(page.order_by(trainings.c.id).limit(limit)).mappings().all()
            evaluated = int(connection.scalar(counted) or 0) if rows else 0
        found = []
        for row in rows:
            evaluated += row["state"] in COUNTED_STATES
            found.append({**row, "evaluated": evaluated})
        return found

    def trial(self, study_id: int, number: int) -> JSON | None:
        """One trial with its spec and its scores; None for an unknown one."""
        wanted = sa.select(
            *_TRIAL, architectures.c.spec, trainings.c.curve, architectures.c.id.label("architecture_id")
        )
        wanted = wanted.select_from(_JOINED).where(trainings.c.study_id == study_id, trainings.c.trial_number == number)
        with self._reading() as connection:
            row = connection.execute(wanted).mappings().one_or_none()
            if row is None:
                return None
            timed = sa.select(latencies).where(latencies.c.architecture_id == row["architecture_id"])
            timings = connection.execute(timed.order_by(latencies.c.id)).mappings().all()
        return {**row, "timings": [dict(timing) for timing in timings]}

    def targets(self, study_id: int | None = None) -> dict[str, list[JSON]]:
        """Study -> fingerprints that its finished trials were timed on, of one study or of all."""
        text = sa.cast(latencies.c.target, sa.Text)  # PostgreSQL compares texts, and no JSON
        timed = latencies.c.architecture_id == trainings.c.architecture_id
        wanted = sa.select(studies.c.name, text).select_from(trainings.join(studies).join(latencies, timed))
        wanted = wanted.where(trainings.c.state == "COMPLETE").distinct().order_by(studies.c.name, text)
        if study_id is not None:
            wanted = wanted.where(trainings.c.study_id == study_id)
        found: dict[str, list[JSON]] = {}
        with self._looking() as connection:
            for name, target in connection.execute(wanted):
                known = found.setdefault(name, [])
                fingerprint = json.loads(target)
                if fingerprint not in known:
                    known.append(fingerprint)
        return found

    def best_top1(self, study_id: int, after: int = 0, last: int = LARGEST_ROW) -> float | None:
        """The highest top1 of a finished trial behind one row and up to another; None without one."""
        wanted = sa.select(sa.func.max(trainings.c.top1)).where(*_between(study_id, after, last))
        with self._looking() as connection:
            best: float | None = connection.scalar(wanted.where(trainings.c.state == "COMPLETE"))
        return best

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated_errors(self._engine.url), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def _looking(self) -> Iterator[Connection]:
        """As _reading, for one SELECT."""
        with translated_errors(self._engine.url), self._looker.begin() as connection:
            yield connection


def _outline(row: Any) -> Outline:
    budget = row.config.get("budget")
    return Outline(row.id, row.name, row.objectives[1], None if budget is None else int(budget), row.created)


def _between(study_id: int, after: int, last: int) -> list[sa.ColumnElement[bool]]:
    """Trials of a study behind one row and up to another."""
    return [trainings.c.study_id == study_id, trainings.c.id > after, trainings.c.id <= last]


def _conditions(wanted: TrialFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.state is not None:
        conditions.append(trainings.c.state == wanted.state)
    if wanted.mixer is not None:
        # The spec is JSON text. A part beside the blocks may have the name of a mixer.
        text = sa.cast(architectures.c.spec, sa.Text)
        places = [f'"{field}": "{wanted.mixer}"' for field in ("conv", "attention")]
        conditions.append(sa.or_(*(text.contains(place, autoescape=True) for place in places)))
    return conditions
