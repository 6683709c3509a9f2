"""Owning a study, on a real SQLite database."""

import contextlib
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.store import SqlStore, open_store
from nas.errors import StudyLockedError
from nas.processes import current_process
from nas.records import Lease, ProcessId
from nas.search import ownership
from nas.search.ownership import STALE_S, owned

DEAD = ProcessId(pid=2**22 + 1, start_time=1.0)
RAY = (ProcessId(7, 2.0),)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with contextlib.closing(open_store(f"sqlite:///{tmp_path}/nas.db")) as store:
        yield store


def lease(host: str, process: ProcessId, age_s: float = 0.0) -> Lease:
    return Lease(host, process, datetime.now(UTC) - timedelta(seconds=age_s), RAY, "/folder")


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_lease_is_held_inside_and_given_up_after(store: SqlStore) -> None:
    with owned(store, "s", lambda *_: [], pytest.fail):
        assert store.lease("s").process == current_process()
    assert store.lease("s") is None


def test_a_dead_owner_of_this_host_leaves_its_session_to_be_ended(store: SqlStore) -> None:
    store.acquire_lease("s", lease(socket.gethostname(), DEAD), STALE_S)
    ended = []
    said = []
    with owned(store, "s", lambda *session: ended.append(session) or [7], said.append):
        pass
    assert ended == [(RAY, "/folder")]
    assert said == [
        f"took over from process {DEAD.pid} on {socket.gethostname()}, which is gone; ended 1 processes it left behind"
    ]


def test_processes_of_another_host_are_left_alone(store: SqlStore) -> None:
    store.acquire_lease("s", lease("elsewhere", DEAD, age_s=STALE_S + 1), STALE_S)
    said = []
    with owned(store, "s", lambda *_: pytest.fail("those numbers mean nothing here"), said.append):
        pass
    assert "elsewhere, which is gone; ended 0" in said[0]


def test_a_live_owner_stops_the_second(store: SqlStore) -> None:
    store.acquire_lease("s", lease("elsewhere", DEAD), STALE_S)
    with pytest.raises(StudyLockedError, match="elsewhere"), owned(store, "s", lambda *_: [], pytest.fail):
        pytest.fail("owned twice")
    assert store.lease("s").host == "elsewhere"


def test_the_heart_beats_whatever_the_owner_does(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "HEARTBEAT_S", 0.01)
    with owned(store, "s", lambda *_: [], pytest.fail) as owner:
        first = store.lease("s")
        wait_until(lambda: store.lease("s").heartbeat > first.heartbeat)  # nobody calls the owner meanwhile
        owner.note_session(lambda: (RAY, "/mine"))
        noted = store.lease("s")
        assert (noted.ray_processes, noted.ray_session) == (RAY, "/mine")
        wait_until(lambda: store.lease("s").heartbeat > noted.heartbeat)
        assert store.lease("s").ray_session == "/mine"
        owner.check()


def test_an_owner_that_was_overtaken_learns_it_and_leaves_the_new_lease_alone(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "HEARTBEAT_S", 0.01)
    with owned(store, "s", lambda *_: [], pytest.fail) as owner:
        store.release_lease("s", store.lease("s"))
        store.acquire_lease("s", lease("elsewhere", DEAD), STALE_S)

        def learned() -> bool:
            with contextlib.suppress(StudyLockedError):
                owner.check()
                return False
            return True

        wait_until(learned)
    assert store.lease("s").host == "elsewhere"
