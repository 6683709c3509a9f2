"""Processes that outlive who started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_nas.service.children import Child, plain
from tests.waiting import eventually


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child(tmp_path / "children of a 'queue'", "1")


def number(child: Child) -> int:
    lock = child.folder / "1.lock"
    eventually(lambda: lock.read_text().strip())
    return int(lock.read_text())


def start(child: Child, command: str) -> bool:
    return child.start(["/bin/sh", "-c", command], os.environ)


def test_its_end_is_written_down(child: Child) -> None:
    assert not child.is_running()
    assert start(child, "echo said; exit 7")
    eventually(lambda: not child.is_running())
    assert child.exit_code() == 7
    assert child.last_lines(5) == ["said"]


def test_it_runs_once(child: Child) -> None:
    assert start(child, "exec sleep 60")
    assert not start(child, "echo twice")
    os.kill(number(child), signal.SIGKILL)
    eventually(lambda: not child.is_running())
    assert child.exit_code() == 128 + signal.SIGKILL
    assert "twice" not in child.last_lines(5)


def test_sigterm_reaches_the_program(child: Child) -> None:
    start(child, "trap 'echo saved; exit 130' TERM; echo ready; while :; do sleep 0.05; done")
    eventually(lambda: child.last_lines(1) == ["ready"])
    assert child.stop()
    eventually(lambda: not child.is_running())
    assert (child.exit_code(), child.last_lines(1)) == (130, ["saved"])


STARTER = """
import os, sys, time
from pathlib import Path
from hybrid_nas.service.children import Child
Child(Path(sys.argv[1]), "1").start(["/bin/sh", "-c", "exec sleep 60"], os.environ)
print("started", flush=True)
time.sleep(60)
"""


def test_who_started_it_may_be_killed(child: Child) -> None:
    command = [sys.executable, "-c", STARTER, str(child.folder)]
    starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    assert starter.stdout.readline() == "started\n"
    starter.kill()
    starter.communicate()
    assert child.is_running()
    assert not start(child, "echo twice")
    os.kill(number(child), signal.SIGKILL)
    eventually(lambda: not child.is_running())


def test_lines_are_whole_and_followed(child: Child) -> None:
    child.folder.mkdir()
    child.output.write_bytes("one\n\x1b[31mtwö\x1b[0m\r\nthr".encode())
    lines = child.lines_after(0)
    assert [text for text, _ in lines] == ["one", "twö"]
    assert child.lines_after(lines[-1][1]) == []
    assert child.lines_after(lines[0][1]) == lines[1:]
    assert plain(b"a\x00b\x07c\xff") == "a b c\N{REPLACEMENT CHARACTER}"
