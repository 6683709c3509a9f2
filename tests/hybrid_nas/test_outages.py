"""Searches whose database goes away in the middle: a real server that is stopped, killed or cut off, a locked file, a
full disk. A function evaluates, so no worker is needed."""

import contextlib
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
import sqlalchemy as sa

from db import engine as db_engine
from db.engine import engine_kwargs
from db.store import open_store
from hybrid_nas import api
from nas.errors import NasError, StudyLockedError
from nas.records import JSON, Lease, ProcessId
from nas.search.events import Note, SearchEvent, TrialFinished
from tests.doubles import TinySpace, tiny_top1

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

BUDGET = 12


class Run:
    """One search: what it evaluated and what was heard of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.evaluated: Counter[str] = Counter()
        self.notes: list[str] = []

    def search(self, url: str, at: Callable[[int], None] = lambda evaluated: None, timeout_s: float = 60.0) -> None:
        def evaluate(spec: JSON) -> float:
            self.evaluated[str(spec)] += 1
            return tiny_top1(spec)

        def hear(event: SearchEvent) -> None:
            if isinstance(event, Note):
                self.notes.append(event.text)
            if isinstance(event, TrialFinished):
                at(event.evaluated)

        api.search(
            space=TinySpace(),
            budget=BUDGET,
            study="s",
            storage=url,
            artifacts=self.folder / "artifacts",
            objectives="top1,macs",
            evaluate=evaluate,
            storage_timeout_s=timeout_s,
            quiet=True,
            on_event=hear,
        )

    def assert_whole(self, url: str) -> None:
        """The exact budget; nothing is evaluated or recorded twice; Optuna's record equals ours."""
        assert set(self.evaluated.values()) == {1}
        assert sum(self.evaluated.values()) == BUDGET
        with contextlib.closing(open_store(url, create=False)) as store:
            facts = list(store.facts("s"))
            assert store.check_fronts("s") == []
            assert store.lease("s") is None
        storage = optuna.storages.RDBStorage(url, engine_kwargs=engine_kwargs(url))
        trials = optuna.load_study(study_name="s", storage=storage).trials
        storage.engine.dispose()
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * BUDGET
        assert [trial.number for trial in trials] == list(range(BUDGET))
        assert {trial.trial_number: trial.arch_hash for trial in facts} == {
            trial.number: trial.user_attrs["arch_hash"] for trial in trials
        }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def later(pause_s: float, act: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(pause_s, act)
    timer.start()
    return timer


@pytest.mark.postgres
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_a_server_that_is_started_again_is_waited_for(
    run: Run, postgres_server: "PostgresServer", number: signal.Signals
) -> None:
    url = postgres_server.new_database()
    begun = []

    def stop(evaluated: int) -> None:
        if evaluated in (3, 7):
            postgres_server.halt(number)
            begun.append(later(1.0, postgres_server.start_again))

    run.search(url, stop)
    for timer in begun:
        timer.join()
    run.assert_whole(url)
    assert [note.split(";")[1] for note in run.notes if "waiting" in note] == [
        " waiting for up to 60 s, trainings go on"
    ] * 2
    assert sum("the wait is over" in note for note in run.notes) == 2
    assert not [note for note in run.notes if "pw-" in note]


@pytest.mark.postgres
def test_a_server_that_stays_away_ends_the_search_and_the_same_call_continues(
    run: Run, postgres_server: "PostgresServer"
) -> None:
    url = postgres_server.new_database()

    def stop(evaluated: int) -> None:
        if evaluated == 5:
            postgres_server.halt(signal.SIGKILL)

    try:
        with pytest.raises(NasError, match=r"given up after 1 s \(--storage-timeout-s\).*the same command") as caught:
            run.search(url, stop, timeout_s=1.0)
    finally:
        postgres_server.start_again()
    assert "pw-" not in str(caught.value)
    run.search(url)
    assert sum(run.evaluated.values()) <= BUDGET + 1, "one was in flight"
    run.evaluated = Counter(dict.fromkeys(run.evaluated, 1))
    run.assert_whole(url)


@pytest.mark.postgres
def test_a_study_that_was_taken_over_in_an_outage_is_left_alone(run: Run, postgres_server: "PostgresServer") -> None:
    url = postgres_server.new_database()
    other = Lease("there", ProcessId(1, 1.0), datetime.now(UTC), "another kernel", "theirs")

    def stop(evaluated: int) -> None:
        if evaluated == 5:
            postgres_server.halt()
            postgres_server.start_again()
            with contextlib.closing(open_store(url)) as store:
                owner = store.lease("s")
                assert store.acquire_lease("s", other, silent=owner) == owner

    with pytest.raises(StudyLockedError, match="process 1 on host there owns it now"):
        run.search(url, stop)
    with contextlib.closing(open_store(url)) as store:
        assert len(list(store.facts("s"))) == 5
        assert store.lease("s") == other


class Proxy:
    """Passes a server's connections on. When told to, it cuts one after COMMIT has gone through and before the answer
    has: nobody can tell whether it was committed."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.is_cutting = False
        self.commits = 0
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.is_cutting and b"COMMIT" in data:
                    self.commits += 1
                    if self.commits % 5 == 0:
                        self.cuts += 1
                        client.shutdown(socket.SHUT_RDWR)
                        server.sendall(data)
                        time.sleep(0.1)  # until it is committed
                        break
                server.sendall(data)
        server.close()

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        client.close()


@pytest.mark.postgres
def test_a_commit_whose_answer_is_lost_is_not_made_twice(run: Run, postgres_server: "PostgresServer") -> None:
    url = sa.make_url(postgres_server.new_database())
    assert url.port is not None
    proxy = Proxy(url.port)

    def begin(evaluated: int) -> None:
        proxy.is_cutting = True

    run.search(url.set(port=proxy.port).render_as_string(hide_password=False), begin)
    proxy.close()
    assert proxy.cuts > 10
    run.assert_whole(url.render_as_string(hide_password=False))


def test_a_file_that_is_locked_for_long_is_waited_for(
    run: Run, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_engine, "BUSY_TIMEOUT_S", 0.1)
    locks = []

    def lock(evaluated: int) -> None:
        if evaluated in (3, 7):
            other = sqlite3.connect(
                sqlite_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
            )
            other.execute("BEGIN IMMEDIATE")
            locks.append(later(1.0, other.close))

    run.search(sqlite_url, lock)
    run.assert_whole(sqlite_url)
    assert sum("another process has held it" in note for note in run.notes) == 2


FULL_DISK = """
import resource, sys, threading
from datetime import UTC, datetime
from pathlib import Path
from tests.hybrid_nas.test_outages import Run
from nas.errors import NasError

url, timeout_s = sys.argv[1], float(sys.argv[2])
run = Run(Path("."))

def fill(evaluated):
    if evaluated == 4:
        size = Path("nas.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        if timeout_s > 10:
            threading.Timer(1.0, resource.setrlimit, (resource.RLIMIT_FSIZE, limits)).start()

try:
    run.search(url, fill, timeout_s)
    run.assert_whole(url)
    print("whole", len([note for note in run.notes if "waiting" in note]))
except NasError as error:
    print(error)
"""


def search_on_a_full_disk(folder: Path, timeout_s: float) -> str:
    """What a search says whose files may grow no more after four trials; for a second, where it waits long enough."""
    return subprocess.run(
        [sys.executable, "-c", FULL_DISK, "sqlite:///nas.db", str(timeout_s)],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    assert search_on_a_full_disk(tmp_path, 60.0) == "whole 1\n"


def test_a_disk_that_stays_full_ends_the_search_with_its_state_saved(run: Run, tmp_path: Path) -> None:
    said = search_on_a_full_disk(tmp_path, 0.5)
    assert "given up after 0.5 s (--storage-timeout-s), what was recorded is safe" in said
    url = f"sqlite:///{tmp_path}/nas.db"
    with contextlib.closing(open_store(url)) as store:
        before = len(list(store.facts("s")))
    assert before == 4
    run.search(url)
    assert sum(run.evaluated.values()) == BUDGET - before
