"""Real processes: the lock is worth nothing if it only works between threads of one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from nas.errors import InvalidInputError
from workers.latency import device_lock
from workers.latency.device_lock import DeviceLock, device_identity

ROOT = Path(__file__).parents[3]
PRELUDE = """
import sys, time
from pathlib import Path
from workers.latency.device_lock import DeviceLock
lock = DeviceLock("cpu", Path(sys.argv[1]))
"""
HOLD = "with lock.{mode}():\n    print('held', flush=True)\n    time.sleep(60)"
LOOP = "print('looping', flush=True)\nwhile True:\n    with lock.shared():\n        time.sleep(0.02)"
COUNTED_LOOP = """
turns = open(Path(sys.argv[1]) / "turns", "ab", buffering=0)
print("looping", flush=True)
while True:
    with lock.exclusive():
        turns.write(b".")
        time.sleep(0.02)
"""

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a Python process with `lock` at hand and waits for its first line."""
    processes: list[subprocess.Popen[str]] = []

    def _start(code: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PRELUDE + code, str(tmp_path)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        processes.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield _start
    for process in processes:
        process.kill()
        process.communicate()


def _can_enter(folder: Path, mode: str, within_s: float = 0.3) -> bool:
    return _can_enter_lock(DeviceLock("cpu", folder), mode, within_s)


def _can_enter_lock(lock: DeviceLock, mode: str, within_s: float = 0.3) -> bool:
    """Whether this process gets the lock in the time given; the alarm interrupts the wait."""

    class _TooLongError(Exception):
        pass

    def _give_up(*_: object) -> None:
        raise _TooLongError

    previous = signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, within_s)
    try:
        with lock.shared() if mode == "shared" else lock.exclusive():
            return True
    except _TooLongError:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize(
    ("theirs", "ours", "enters"),
    [
        ("shared", "shared", True),
        ("shared", "exclusive", False),
        ("exclusive", "shared", False),
        ("exclusive", "exclusive", False),
    ],
)
def test_who_excludes_whom(start: Start, tmp_path: Path, theirs: str, ours: str, enters: bool) -> None:
    start(HOLD.format(mode=theirs))
    assert _can_enter(tmp_path, ours) is enters


@pytest.mark.parametrize("mode", ["shared", "exclusive"])
def test_a_killed_holder_frees_the_lock(start: Start, tmp_path: Path, mode: str) -> None:
    holder = start(HOLD.format(mode=mode))
    assert not _can_enter(tmp_path, "exclusive", within_s=0.1)
    holder.send_signal(signal.SIGKILL)
    assert _can_enter(tmp_path, "exclusive", within_s=5)


def test_two_shared_loops_do_not_starve_the_exclusive_lock(start: Start, tmp_path: Path) -> None:
    start(LOOP)
    start("time.sleep(0.01)\n" + LOOP)
    lock = DeviceLock("cpu", tmp_path)
    waits = []
    for _ in range(20):
        with lock.exclusive() as waited_s:
            waits.append(waited_s)
    assert max(waits) < 1.0, waits


@pytest.mark.parametrize("mode", ["shared", "exclusive"])
def test_two_exclusive_loops_keep_nobody_waiting(start: Start, tmp_path: Path, mode: str) -> None:
    """One of them always waits while the other one holds the lock; counted in turns, however slow the machine is."""
    start(COUNTED_LOOP)
    start(COUNTED_LOOP)
    lock = DeviceLock("cpu", tmp_path)
    turns = tmp_path / "turns"
    waited = []
    for _ in range(20):
        before = turns.stat().st_size
        with lock.shared() if mode == "shared" else lock.exclusive():
            waited.append(turns.stat().st_size - before)
    assert sum(waited) < 20 * 4, waited


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux tells who waits for a lock")
@pytest.mark.parametrize("mode", ["shared", "exclusive"])
def test_who_is_killed_while_waiting_blocks_nobody(start: Start, tmp_path: Path, mode: str) -> None:
    """The turnstile is given back too, by who waits for the exclusive lock and by who waits behind that one."""
    holder = start(HOLD.format(mode="shared" if mode == "exclusive" else "exclusive"))
    waiting = start(f"print('waiting', flush=True)\nwith lock.{mode}():\n    time.sleep(60)")
    while not _is_stopped_by_a_lock(waiting.pid):
        assert waiting.poll() is None
        time.sleep(0.01)
    waiting.kill()
    waiting.wait()
    holder.kill()
    holder.wait()
    assert _can_enter(tmp_path, "exclusive", within_s=5)


def _is_stopped_by_a_lock(pid: int) -> bool:
    """Linux lists who waits for an advisory lock behind an arrow."""
    return any(f" {pid} " in line and "->" in line for line in Path("/proc/locks").read_text().splitlines())


def test_an_interrupted_wait_holds_nothing(start: Start, tmp_path: Path) -> None:
    """Otherwise a Ctrl-C while waiting would leave the turnstile shut for everybody."""
    holder = start(HOLD.format(mode="shared"))
    assert not _can_enter(tmp_path, "exclusive", within_s=0.1)
    assert _can_enter(tmp_path, "shared")
    holder.kill()
    holder.wait()
    assert _can_enter(tmp_path, "exclusive")


def test_waiting_time_is_yielded(start: Start, tmp_path: Path) -> None:
    start("with lock.exclusive():\n    print('held', flush=True)\n    time.sleep(0.3)")
    with DeviceLock("cpu", tmp_path).shared() as waited_s:
        assert 0.05 < waited_s < 5


def test_shared_is_cheap_enough_for_every_training_step(tmp_path: Path) -> None:
    lock = DeviceLock("cpu", tmp_path)
    durations = []
    for _ in range(200):
        begin = time.perf_counter()
        with lock.shared():
            pass
        durations.append(time.perf_counter() - begin)
    assert sorted(durations)[100] < 50e-6


def test_other_devices_are_independent(start: Start, tmp_path: Path) -> None:
    start(HOLD.format(mode="exclusive"))
    with DeviceLock("cuda-0123", tmp_path).exclusive() as waited_s:
        assert waited_s < 1


def test_nesting_is_caught(tmp_path: Path) -> None:
    lock = DeviceLock("cpu", tmp_path)
    with lock.exclusive(), pytest.raises(AssertionError, match="already held"), lock.shared():
        pass
    with lock.shared() as waited_s:
        assert waited_s < 1


def test_what_timings_leave_is_this_users_alone(tmp_path: Path) -> None:
    notes = DeviceLock("cpu", tmp_path / "locks").notes
    assert notes.stat().st_mode & 0o777 == 0o700
    notes.chmod(0o777)
    with pytest.raises(InvalidInputError, match="writable by you alone"):
        DeviceLock("cpu", tmp_path / "locks")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match=r"cannot be made \(Not a directory\); remove what is in its way"):
        DeviceLock("cpu", tmp_path / "file")


def test_jobs_with_a_temporary_folder_each_exclude_each_other(tmp_path: Path) -> None:
    """As batch systems give them. A device of no host, so that nothing else on this one waits meanwhile."""
    code = """
import tempfile
from workers.latency.device_lock import DeviceLock
with DeviceLock(IDENTITY).exclusive():
    print(tempfile.gettempdir(), flush=True)
    input()
""".replace("IDENTITY", repr(f"test-{tmp_path}"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == f"{tmp_path}\n"
        lock = DeviceLock(f"test-{tmp_path}")
        assert not _can_enter_lock(lock, "shared")
        other.stdin.close()
    assert _can_enter_lock(lock, "shared", within_s=5)
    for file in lock.notes.parent.glob(f"{lock.stem}.*"):
        file.unlink()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may start a process of another user")
def test_users_exclude_each_other_and_write_into_no_file_of_the_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    for folder in tmp_path.parents[:-2]:
        folder.chmod(folder.stat().st_mode | 0o011)
    own = DeviceLock("cpu", tmp_path)
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(65534)
            lock = DeviceLock("cpu", tmp_path)
            with lock.exclusive():
                (lock.notes / "held").touch()
                time.sleep(60)
        finally:
            os._exit(1)
    try:
        held = tmp_path / "nas-notes-65534" / "held"
        deadline = time.monotonic() + 5
        while not held.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not _can_enter_lock(own, "shared")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert _can_enter_lock(own, "exclusive", within_s=5)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("nas-cpu-*")} == {0o644}


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_somebody_put_in_the_way_of_a_lock_is_refused(tmp_path: Path, kind: str) -> None:
    stem = DeviceLock("cpu", tmp_path).stem
    path = tmp_path / f"{stem}.lock"
    path.unlink()
    if kind == "link":
        path.symlink_to(tmp_path / "precious")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(InvalidInputError, match=r"\.lock cannot be used \(.*\); remove it, or let its owner remove it"):
        DeviceLock("cpu", tmp_path)
    assert not (tmp_path / "precious").exists()


def test_a_host_without_a_place_for_locks_is_told_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    monkeypatch.setattr(device_lock, "PLACES", (tmp_path / "missing", closed))
    with pytest.raises(InvalidInputError, match=r"neither .*missing nor .*closed is one; make one of them"):
        DeviceLock("cpu")
    closed.chmod(0o1777)
    DeviceLock("cpu")
    assert len(list(closed.glob("nas-cpu-*"))) == 2


def test_device_identity() -> None:
    assert device_identity("cpu") == device_identity(torch.device("cpu", 0)) == "cpu"
    with pytest.raises(InvalidInputError, match="expected cpu or cuda"):
        device_identity("meta")
