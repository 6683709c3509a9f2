"""Real processes that play a Ray session: found by number and start time, by environment, by command line, by open
file; others spared."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from nas.errors import InvalidInputError
from nas.processes import current_process, is_alive, process_id
from nas.records import ProcessId
from workers.cluster import session_processes
from workers.cluster.session_processes import (
    SESSION_VARIABLE,
    end_abandoned_sessions,
    end_processes,
    make_session_folder,
)

ROOT = Path(__file__).parents[3]
SLEEP = "print('up', flush=True); import time; time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python -c code arguments` and waits until it is up."""
    started: list[subprocess.Popen[str]] = []

    def _start(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield _start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def session() -> Iterator[str]:
    folder = make_session_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _id(process: subprocess.Popen[str]) -> ProcessId:
    return process_id(psutil.Process(process.pid))


def test_current_process_is_alive() -> None:
    assert current_process().pid == os.getpid()
    assert is_alive(current_process())


def test_a_reused_number_is_another_process() -> None:
    assert not is_alive(replace(current_process(), start_time=current_process().start_time - 100))


def test_a_zombie_is_dead(start: Start) -> None:
    process = start(SLEEP)
    identity = _id(process)
    process.kill()
    deadline = time.monotonic() + 5
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert psutil.pid_exists(process.pid)
    assert not is_alive(identity)
    process.wait()
    assert not is_alive(identity)


def test_noted_processes_are_ended(start: Start) -> None:
    noted = start(SLEEP)
    other = start(SLEEP)
    assert end_processes([_id(noted)], "") == [noted.pid]
    assert is_alive(_id(other))
    assert noted.poll() is not None


def test_a_noted_number_that_was_reused_is_spared(start: Start) -> None:
    innocent = start(SLEEP)
    assert end_processes([replace(_id(innocent), start_time=1.0)], "") == []
    assert innocent.poll() is None


def test_one_that_ignores_sigterm_is_killed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_processes, "GRACE_S", 0.2)
    stubborn = start(STUBBORN)
    identity = _id(stubborn)
    assert end_processes([identity], "") == [stubborn.pid]
    assert not is_alive(identity)


def test_the_processes_of_a_session_are_found_by_its_marks(start: Start, session: str, tmp_path: Path) -> None:
    log = Path(session) / "agent.log"
    log.touch()
    by_environment = start(SLEEP, **{SESSION_VARIABLE: session})
    by_command_line = start(SLEEP, "/lib/ray/raylet", f"--folder={session}/session_1")
    by_open_file = start(f"file = open({str(log)!r}); {SLEEP}", "ray::Agent")
    reader = start(f"file = open({str(log)!r}); {SLEEP}", "tail", str(log))
    other_session = start(
        SLEEP, "/lib/ray/raylet", f"--folder={session}2/session_1", **{SESSION_VARIABLE: f"{session}2"}
    )
    expected = sorted(process.pid for process in (by_environment, by_command_line, by_open_file))
    assert end_processes([], session) == expected
    assert reader.poll() is None
    assert other_session.poll() is None
    assert not Path(session).exists()
    assert end_processes([], session) == [], "a second call finds nothing and minds nothing"


def test_nothing_is_ended_without_marks(start: Start) -> None:
    innocent = start(SLEEP, "/lib/ray/raylet", **{SESSION_VARIABLE: "/tmp/nas-ray-other"})
    assert end_processes([], "") == []
    assert innocent.poll() is None


def test_never_itself(session: str) -> None:
    assert end_processes([current_process()], session) == []


def test_only_session_folders_are_removed(tmp_path: Path) -> None:
    """The path was read from a database; a wrong one must not cost anybody's files."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "nas-ray-link").symlink_to(tmp_path / "precious")
    end_processes([], str(tmp_path / "precious"))
    end_processes([], str(tmp_path / "nas-ray-link"))
    assert (tmp_path / "precious").is_dir()


def test_session_folder_is_short_enough_for_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    folder = make_session_folder()
    shutil.rmtree(folder)
    assert len(folder) < 40


def test_a_session_folder_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    with pytest.raises(
        InvalidInputError, match=r"a folder under /proc, which cannot be made .*; make room, or set TMPDIR"
    ):
        make_session_folder()


def test_abandoned_sessions_are_ended_and_others_kept(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that died before its lease named the session left no other trace than the folder."""
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        monkeypatch.setattr("tempfile.tempdir", base)
        ours = make_session_folder()
        code = "from workers.cluster.session_processes import make_session_folder; print(make_session_folder())"
        environment = {**os.environ, "TMPDIR": base, "PYTHONPATH": str(ROOT)}
        theirs = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
        ).stdout.strip()
        (Path(base) / "nas-ray-stranger").mkdir()
        left_behind = start(SLEEP, **{SESSION_VARIABLE: theirs})
        at_work = start(SLEEP, **{SESSION_VARIABLE: ours})
        identity = _id(left_behind)
        end_abandoned_sessions()
        assert not is_alive(identity)
        assert at_work.poll() is None
        assert sorted(path.name for path in Path(base).iterdir()) == sorted([Path(ours).name, "nas-ray-stranger"])
