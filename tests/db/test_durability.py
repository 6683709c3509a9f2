"""Real processes that are killed or race, and a full disk."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from db.engine import make_engine, parse_url
from db.errors import again_after_races
from db.schema import ensure_schema
from db.store import SqlStore, open_store
from db.tables import fronts
from nas.errors import NasError
from nas.pareto.front import FrontKeeper
from tests.contracts.store_contract import REFERENCE, complete_trial, study_record

ROOT = Path(__file__).parents[2]

RECORD_UNTIL_KILLED = """
import sys
from db.store import open_store
from nas.pareto.front import FrontKeeper
from tests.contracts.store_contract import REFERENCE, complete_trial

store = open_store(sys.argv[1])
keeper = FrontKeeper("latency_ms", REFERENCE)
for number in range(100_000):
    facts = complete_trial(number, top1=0.1 + number * 1e-6, median_ms=10.0 + number * 1e-4)  # each joins the front
    store.record("study", facts, keeper.add(facts))
    print(number, flush=True)
"""

DIE_BEFORE = """
import os, signal, sys
from sqlalchemy import event
from db.store import open_store
from tests.contracts.store_contract import complete_trial, front_with

store = open_store(sys.argv[1])

@event.listens_for(store._engine, "before_cursor_execute")
def die(connection, cursor, statement, *rest):
    if statement.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

@event.listens_for(store._engine, "commit")
def die_at_commit(connection):
    if sys.argv[2] == "COMMIT":
        os.kill(os.getpid(), signal.SIGKILL)

store.record("study", complete_trial(1), front_with(complete_trial(0), complete_trial(1), version=2))
"""

ACQUIRE = """
import sys
from db.store import open_store
from nas.errors import StudyLockedError
from tests.contracts.store_contract import lease_of, live_process

store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    store.acquire_lease("study", lease_of(live_process()))
    print("won", flush=True)
except StudyLockedError as error:
    print("lost", error, flush=True)
sys.stdin.readline()
"""

OPEN_OPTUNA = """
import sys
from db.engine import engine_kwargs, parse_url
from db.errors import again_after_races
from nas.search.study import open_optuna_storage

url = sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
again_after_races(lambda: open_optuna_storage(url, engine_kwargs(url)), parse_url(url))
"""

OPEN = """
import sys
from db.store import open_store

print("ready", flush=True)
sys.stdin.readline()
open_store(sys.argv[1]).close()
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "empty_postgres_url")
    return url


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def start_together(script: str, url: str) -> list[subprocess.Popen[str]]:
    """Three processes that wait until all have imported what they need, then act at the same moment."""
    processes = [start(script, url) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return processes


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Let the process go on to its end; what it printed."""
    out, err = process.communicate("\n", timeout=60)
    return out, err


@pytest.mark.parametrize(
    "moment", ["INSERT INTO latencies", "INSERT INTO trainings", "INSERT INTO front_members", "COMMIT"]
)
def test_a_kill_inside_record_leaves_nothing_of_it(url: str, moment: str) -> None:
    store = open_store(url)
    store.create_study(study_record())
    facts = complete_trial(0)
    store.record("study", facts, FrontKeeper("latency_ms", REFERENCE).add(facts))
    before = store.front("study")
    process = start(DIE_BEFORE, url, moment)
    _, errors = end(process)
    assert process.returncode == -signal.SIGKILL, errors
    assert list(store.facts("study")) == [facts]
    assert store.front("study") == before
    assert store.check_fronts("study") == []
    store.record("study", complete_trial(1), None)  # no lock is left either
    store.close()


def test_a_kill_at_any_moment_leaves_whole_trials(url: str) -> None:
    store = open_store(url)
    store.create_study(study_record())
    process = start(RECORD_UNTIL_KILLED, url)
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()
    process.kill()
    reported = 20 + len(process.stdout.read().split())
    process.communicate()
    recorded = [facts.trial_number for facts in store.facts("study")]
    assert recorded == list(range(len(recorded)))
    assert reported <= len(recorded) <= reported + 1
    with store._reader.begin() as connection:
        versions = list(connection.scalars(sa.select(fronts.c.version).order_by(fronts.c.version)))
    assert versions == [number + 1 for number in recorded]
    assert store.check_fronts("study") == []
    store.close()


READ_AND_CLOSE = """
import sqlite3, sys

connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM nas_studies").fetchone()
connection.close()
"""


def test_who_closes_it_elsewhere_leaves_the_log_of_who_works(sqlite_url: str) -> None:
    """SQLite removes the log with the last connection, and knows by its locks which one that is."""
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    with closing(open_store(sqlite_url)) as store:
        store.create_study(study_record())
        open_store(sqlite_url).close()
        open_store(sqlite_url, create=False).close()
        subprocess.run([sys.executable, "-c", READ_AND_CLOSE, str(file)], check=True)
        assert file.with_name(f"{file.name}-wal").exists()
        store.create_study(study_record("later"))
        with closing(sqlite3.connect(file)) as other:
            assert other.execute("SELECT count(*) FROM nas_studies").fetchone() == (2,)


def test_a_full_disk_is_said_and_loses_nothing(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    ensure_schema(engine)
    limit = 60  # pages of 4 KiB
    event.listen(engine, "checkout", lambda connection, *_: connection.execute(f"PRAGMA max_page_count={limit}"))
    store = SqlStore(engine)
    store.create_study(study_record())
    keeper = FrontKeeper("latency_ms", REFERENCE)
    recorded = []

    def record_for_ever() -> None:
        while True:
            facts = complete_trial(len(recorded), top1=0.1 + 1e-3 * len(recorded))
            store.record("study", facts, keeper.add(facts))
            recorded.append(facts)

    with pytest.raises(
        NasError, match=r"^cannot write the database sqlite:.*the disk is full; free some space"
    ) as caught:
        record_for_ever()
    assert "\n" not in str(caught.value)
    assert len(recorded) > 5
    assert list(store.facts("study")) == recorded
    assert store.check_fronts("study") == []
    limit = 10_000
    store.record("study", complete_trial(len(recorded)), None)
    store.close()


def test_a_database_that_another_process_holds_is_said(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    other = make_engine(sqlite_url)
    event.listen(store._engine, "checkout", lambda connection, *_: connection.execute("PRAGMA busy_timeout=50"))
    with (
        other.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin(),
        pytest.raises(NasError, match="another process has held it"),
    ):
        store.create_study(study_record())
    store.create_study(study_record())
    store.close()
    other.dispose()


@pytest.mark.parametrize("abandoned", [False, True])
def test_of_racing_processes_exactly_one_owns_the_study(url: str, abandoned: bool) -> None:
    if abandoned:
        first = start(ACQUIRE, url)
        assert end(first)[0].split()[-1] == "won"  # and it is dead now, without having released
    else:
        open_store(url).close()
    racers = start_together(ACQUIRE, url)
    answers = [
        racer.stdout.readline() for racer in racers if racer.stdout is not None
    ]  # all are alive until all have answered
    errors = [end(racer)[1] for racer in racers]
    assert sorted(answer.split()[0] for answer in answers) == ["lost", "lost", "won"], errors
    winner = next(racer for racer, answer in zip(racers, answers, strict=True) if answer == "won\n")
    assert all(f"process {winner.pid} on host here" in answer for answer in answers if answer != "won\n")


def test_processes_that_create_one_database_at_once_all_succeed(url: str) -> None:
    for process in start_together(OPEN, url):
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    engine = make_engine(url)
    with engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM nas_alembic_version")) == 1
    engine.dispose()


def test_optunas_tables_are_created_by_many_at_once_too(url: str) -> None:
    open_store(url).close()
    for process in start_together(OPEN_OPTUNA, url):
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


def test_what_is_no_race_is_reported_after_some_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.errors._RACE_PAUSE_S", 0.0)

    def full() -> None:
        raise sa.exc.OperationalError("CREATE TABLE", None, Exception("database or disk is full"))

    with pytest.raises(NasError, match="the disk is full"):
        again_after_races(full, parse_url("sqlite:///nas.db"))
