"""Owning a study, on a real SQLite database."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.store import SqlStore, open_store
from nas import processes
from nas.errors import StudyLockedError, UnavailableError
from nas.processes import current_process, is_dead, machine
from nas.records import Lease, ProcessId
from nas.search import ownership
from nas.search.ownership import owned

DEAD = ProcessId(pid=2**22 + 1, start_time=1.0)
RAY = (ProcessId(7, 2.0),)
ELSEWHERE = "another kernel"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with contextlib.closing(open_store(f"sqlite:///{tmp_path}/nas.db")) as store:
        yield store


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hearts beat and are watched a hundred times as fast."""
    monkeypatch.setattr(ownership, "STALE_S", 0.6)
    monkeypatch.setattr(ownership, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(ownership, "LOOK_S", 0.01)


def lease(process: ProcessId, where: str, *, host: str = "elsewhere", age_s: float = 0.0) -> Lease:
    return Lease(host, process, datetime.now(UTC) - timedelta(seconds=age_s), where, "theirs", RAY, "/folder")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextlib.contextmanager
def beating(store: SqlStore, owner: Lease) -> Iterator[None]:
    """The owner's heart beats, whatever the clock of its host says."""
    stop = threading.Event()

    def beat() -> None:
        heartbeat = owner.heartbeat
        while not stop.wait(0.05):
            heartbeat += timedelta(seconds=5)
            store.renew_lease("s", replace(owner, heartbeat=heartbeat))

    thread = threading.Thread(target=beat)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_the_lease_is_held_inside_and_given_up_after(store: SqlStore) -> None:
    with owned(store, "s", lambda *_: [], pytest.fail):
        assert store.lease("s").process == current_process()
    assert store.lease("s") is None


def test_a_dead_owner_of_this_machine_leaves_its_session_to_be_ended(store: SqlStore) -> None:
    store.acquire_lease("s", lease(DEAD, machine(), host="renamed since"))
    ended = []
    said = []
    with owned(store, "s", lambda *session: ended.append(session) or [7], said.append):
        pass
    assert ended == [(RAY, "/folder")]
    assert said == [
        f"took over from process {DEAD.pid} on renamed since, which is gone; ended 1 processes it left behind"
    ]


@dataclass(frozen=True)
class Case:
    """What is recorded of an owner, and whether it lives."""

    where: str
    process: ProcessId
    host: str = "elsewhere"
    age_s: float = 0.0
    beats: bool = False
    here: str | None = None
    """This machine; None for what it is."""


HERE = machine()
SELF = current_process()
REUSED = replace(SELF, start_time=SELF.start_time - 100)
FREE = {
    "dead, this machine": Case(HERE, DEAD),
    "dead, this machine under its former name": Case(HERE, DEAD, host="before"),
    "number used again": Case(HERE, REUSED),
    "dead, equal host names": Case(ELSEWHERE, DEAD, host=socket.gethostname()),
    "dead, a process here has its number": Case(ELSEWHERE, SELF),
    "dead, its clock was an hour ahead": Case(ELSEWHERE, DEAD, age_s=-3600.0),
    "dead, the machine was started again": Case(HERE.replace(HERE[:8], "00000000"), SELF),
    "dead, in another container of this kernel": Case(f"{HERE.split()[0]} pid:[1]", SELF),
    "dead, neither machine is known": Case("", DEAD, here=""),
}
HELD = {
    "alive, this machine, silent since it slept": Case(HERE, ProcessId(1, 0.0), age_s=4000.0),
    "alive, equal host names": Case(ELSEWHERE, DEAD, host=socket.gethostname(), beats=True),
    "alive, its clock is an hour behind": Case(ELSEWHERE, DEAD, age_s=3600.0, beats=True),
    "alive, its clock is an hour ahead": Case(ELSEWHERE, DEAD, age_s=-3600.0, beats=True),
    "alive, in another container of this kernel": Case(f"{HERE.split()[0]} pid:[1]", DEAD, beats=True),
    "alive, neither machine is known, same number and start": Case("", SELF, beats=True, here=""),
    "alive, every heartbeat old after an outage": Case(ELSEWHERE, DEAD, age_s=900.0, beats=True),
}


@pytest.mark.parametrize("case", FREE.values(), ids=FREE)
def test_a_dead_owner_is_followed(store: SqlStore, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    if case.here is not None:
        monkeypatch.setattr(ownership, "machine", lambda: case.here)
    store.acquire_lease("s", lease(case.process, case.where, host=case.host, age_s=case.age_s))
    ended = []
    said = []
    with owned(store, "s", lambda *session: ended.append(session) or [7], said.append):
        assert store.lease("s").token != "theirs"
    is_here = case.where == HERE
    assert bool(ended) == is_here, "numbers of another machine mean nothing here"
    assert said[-1].startswith(f"took over from process {case.process.pid} on {case.host}")
    assert any("watching its heartbeat" in line for line in said) != is_here


@pytest.mark.parametrize("case", HELD.values(), ids=HELD)
def test_a_living_owner_is_not_robbed(store: SqlStore, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    if case.here is not None:
        monkeypatch.setattr(ownership, "machine", lambda: case.here)
    process = case.process
    if process.pid == 1:
        process = processes.process_id(processes.psutil.Process(1))
    owner = lease(process, case.where, host=case.host, age_s=case.age_s)
    store.acquire_lease("s", owner)
    with contextlib.ExitStack() as stack:
        if case.beats:
            stack.enter_context(beating(store, owner))
        refused = pytest.raises(StudyLockedError, match=f"process {process.pid} on host {case.host}")
        with refused, owned(store, "s", lambda *_: [], lambda line: None):
            pytest.fail("owned twice")
    assert store.lease("s").token == "theirs"


def test_a_process_that_could_not_give_its_study_up_takes_it_again(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: object) -> None:
        raise UnavailableError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "release_lease", away)
        with owned(store, "s", lambda *_: [], pytest.fail):
            pass
    assert store.lease("s") is not None
    said = []
    with owned(store, "s", lambda *_: [], said.append):
        refused = pytest.raises(StudyLockedError, match=f"process {os.getpid()}")
        with refused, owned(store, "s", lambda *_: [], pytest.fail):
            pytest.fail("owned twice in one process")
    assert said[-1].startswith(f"took over from process {os.getpid()}")


def test_the_heart_beats_whatever_the_owner_does(store: SqlStore) -> None:
    with owned(store, "s", lambda *_: [], pytest.fail) as owner:
        first = store.lease("s")
        wait_until(lambda: store.lease("s").heartbeat > first.heartbeat)  # nobody calls the owner meanwhile
        owner.note_session(lambda: (RAY, "/mine"))
        noted = store.lease("s")
        assert (noted.ray_processes, noted.ray_session) == (RAY, "/mine")
        wait_until(lambda: store.lease("s").heartbeat > noted.heartbeat)
        assert store.lease("s").ray_session == "/mine"
        owner.check()


def test_the_heart_outlives_an_outage(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def away(*args: object) -> None:
        asked.append(args)
        raise UnavailableError("the database is away")

    with owned(store, "s", lambda *_: [], pytest.fail) as owner:
        with monkeypatch.context() as patch:
            patch.setattr(store, "renew_lease", away)
            wait_until(lambda: len(asked) > 2)
        before = store.lease("s")
        wait_until(lambda: store.lease("s").heartbeat > before.heartbeat)
        owner.check()


def test_an_owner_that_was_overtaken_learns_it_and_leaves_the_new_lease_alone(store: SqlStore) -> None:
    with owned(store, "s", lambda *_: [], pytest.fail) as owner:
        store.release_lease("s", store.lease("s"))
        store.acquire_lease("s", lease(DEAD, ELSEWHERE))

        def learned() -> bool:
            with contextlib.suppress(StudyLockedError):
                owner.check()
                return False
            return True

        wait_until(learned)
    assert store.lease("s").host == "elsewhere"


def test_a_process_that_may_not_be_looked_at_is_not_known_to_be_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc mounted with hidepid=2 shows nothing of other users, and a signal is refused all the same."""
    assert is_dead(DEAD)

    def refused(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert not is_dead(DEAD)


def test_a_start_does_not_move_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil adds the boot time, which is what is left of the time of day: it jumps when the clock is set."""
    before = current_process()
    monkeypatch.setattr(processes.psutil.Process, "create_time", lambda self: time.time() + 3600)
    assert current_process() == before


def test_without_proc_no_machine_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(machine().split()) == 2
    monkeypatch.setattr(processes, "_BOOT_ID", tmp_path / "missing")
    assert machine() == ""
