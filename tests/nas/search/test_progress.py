"""What a person sees while a search runs."""

import errno
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nas.records import FrontMember
from nas.search import progress
from nas.search.progress import Progress

FRONT = tuple(FrontMember(number, "0" * 64, 0.3 + 0.02 * number, 1.0 + number) for number in range(30))
LAYOUTS = {number: f"layout-{number} [red]" for number in range(30)}


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def state(evaluated: int, members: int = 3, **changes: Any) -> dict[str, Any]:
    plain = {
        "evaluated": evaluated,
        "counts": {"COMPLETE": evaluated, "FAIL": 2},
        "best_top1": 0.91234,
        "hypervolume": 1.5,
        "front": FRONT[:members],
        "layouts": LAYOUTS,
        "activities": {"worker 0": "trial 12: training", "worker 1": "idle"},
    }
    return plain | changes


def plain_display(budget: int = 200, already: int = 0, quiet: bool = False) -> tuple[Progress, Callable[[], list[str]]]:
    file = io.StringIO()
    return Progress("study", budget, already, quiet, Console(file=file)), lambda: file.getvalue().splitlines()


def terminal_display(width: int = 120, height: int = 50, **options: Any) -> tuple[Progress, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, height=height, _environ={"TERM": "xterm"})
    return Progress("study", 200, 0, False, console, **options), file


def test_without_a_terminal_there_are_plain_lines_only(clock: Clock) -> None:
    display, lines = plain_display()
    with display:
        display.plan(["30 genes", "2 workers"])
        clock.now += 60
        display.update(**state(10))
        display.note("trial 7 failed: non-finite loss")
        display.finish(["done [200]"])
    assert lines() == [
        "30 genes",
        "2 workers",
        "evaluated 10/200 (5%); 10.0/min; 19 min 00 s left; best top1 0.9123, hypervolume 1.5000, front 3, fail 2",
        "trial 7 failed: non-finite loss",
        "done [200]",
    ]


def test_lines_are_rare(clock: Clock) -> None:
    display, lines = plain_display(budget=200)
    for evaluated in range(1, 201):
        clock.now += 0.01
        display.update(**state(evaluated))
    assert len(lines()) == 20
    for _ in range(100):
        clock.now += 0.9
        display.update(**state(200))
    assert len(lines()) == 20
    clock.now += 300
    display.update(**state(200))
    assert len(lines()) == 21


def test_slow_evaluations_give_a_line_each(clock: Clock) -> None:
    display, lines = plain_display(budget=1000)
    for evaluated in range(1, 6):
        clock.now += 11
        display.update(**state(evaluated))
    assert len(lines()) == 5


def test_rate_counts_this_run_only_from_the_plan_on(clock: Clock) -> None:
    display, lines = plain_display(budget=200, already=100)
    clock.now += 500
    display.plan([])
    clock.now += 50
    display.update(**state(150))
    assert lines()[-1].startswith("evaluated 150/200 (75%); 1.0/s; 50 s left")


def test_time_left_is_true_over_a_day(clock: Clock) -> None:
    display, lines = plain_display(budget=100)
    clock.now += 26 * 3600
    display.update(**state(20))
    assert lines()[-1].startswith("evaluated 20/100 (20%); 0.8/h; 4 d 08 h left")


def test_quiet_prints_the_final_lines_only(clock: Clock) -> None:
    display, lines = plain_display(quiet=True)
    with display:
        display.plan(["plan"])
        clock.now += 60
        display.update(**state(100))
        display.note("note")
        display.finish(["end"])
    assert lines() == ["end"]


def test_terminal_shows_front_workers_and_figures(clock: Clock) -> None:
    display, file = terminal_display(cost_objective="macs")
    with display:
        clock.now += 20
        display.update(**state(10, members=30))
        text = file.getvalue()
    for shown in (
        "10/200 (5%)",
        "30.0/min",
        "6 min 20 s left",
        "best top1 0.9123",
        "macs, M",
        "layout-0 [red]",
        "layout-29",
        "20 more",
    ):
        assert shown in text
    assert "worker 0: trial 12: training" in text


def test_terminal_is_given_back(clock: Clock) -> None:
    display, file = terminal_display()

    def interrupted() -> None:
        with display:
            clock.now += 1
            display.update(**state(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    hidden = "\x1b[?25l"
    shown = "\x1b[?25h"
    assert file.getvalue().rindex(shown) > file.getvalue().rindex(hidden)


def test_notes_stand_above_the_live_display(clock: Clock) -> None:
    display, file = terminal_display()
    with display:
        display.note("worker 1 [lost]")
        display.finish(["the end"])
    assert file.getvalue().index("worker 1 [lost]") < file.getvalue().index("the end")


@pytest.mark.parametrize("width", [1, 2, 5, 20, 79])
@pytest.mark.parametrize("height", [1, 3, 24])
def test_narrow_terminals_are_survived(clock: Clock, width: int, height: int) -> None:
    display, _ = terminal_display(width, height)
    with display:
        clock.now += 1
        display.update(**state(10, members=30))
        display.finish(["end"])


def test_a_dumb_terminal_gets_plain_lines(clock: Clock) -> None:
    file = io.StringIO()
    display = Progress("study", 200, 0, False, Console(file=file, force_terminal=True, _environ={"TERM": "dumb"}))
    with display:
        clock.now += 10
        display.update(**state(10))
    assert "\x1b" not in file.getvalue() and file.getvalue().count("\n") == 1


def test_forced_colours_are_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress("study", 200, 0, False) as display:
        display.update(**state(20))
    assert "\x1b" not in capsys.readouterr().out


def test_a_closed_file_ends_the_output_only(clock: Clock) -> None:
    for file in (open(os.devnull, "w"), io.StringIO()):  # noqa: SIM115
        display = Progress("study", 200, 0, False, Console(file=file, force_terminal=True, _environ={"TERM": "xterm"}))
        with display:
            file.close()
            clock.now += 60
            display.update(**state(100))
            display.note("note")
            display.finish(["end"])


def test_a_terminal_that_cannot_be_written_from_the_start_ends_the_output_only(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    display, file = terminal_display()
    streams = sys.stdout, sys.stderr

    def fails(text: str) -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(file, "write", fails)
    with display:
        clock.now += 60
        display.update(**state(100))
        display.note("note")
        display.finish(["end"])
    assert (sys.stdout, sys.stderr) == streams, "they are given back"


def test_a_closed_pipe_ends_the_output_only() -> None:
    program = """
import time
from nas.search.progress import Progress
with Progress("study", 10, 0, False) as display:
    for evaluated in range(1, 11):
        time.sleep(0.05)
        display.update(
            evaluated=evaluated, counts={}, best_top1=None, hypervolume=None, front=(), layouts={}, activities={}
        )
    display.finish(["end"])
raise SystemExit(7)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 7


def test_an_output_without_unicode_gets_escapes(clock: Clock) -> None:
    raw = io.BytesIO()
    display = Progress("study", 200, 0, False, Console(file=io.TextIOWrapper(raw, encoding="ascii")))
    display.note("32·64")
    assert raw.getvalue() == b"32\\xb764\n"


def test_updates_are_cheap() -> None:
    display, _ = terminal_display()
    with display:
        began = time.perf_counter()
        for evaluated in range(1000):
            display.update(**state(evaluated % 200, members=30))
        assert (time.perf_counter() - began) / 1000 < 1e-3


def test_what_the_workers_do_is_kept_in_a_file_once_a_second(clock: Clock, tmp_path: Path) -> None:
    file = tmp_path / "now"
    display = Progress("study", 200, 0, True, Console(file=io.StringIO()), activity_file=file)
    display.update(**state(1, activities={"worker 0": "trial 1: training"}))
    assert json.loads(file.read_text()) == {"worker 0": "trial 1: training"}
    clock.now += 0.5
    display.update(**state(2, activities={"worker 0": "trial 2: training"}))
    assert "trial 1" in file.read_text()
    clock.now += 0.5
    display.update(**state(2, activities={"worker 0": "trial 2: training"}))
    assert "trial 2" in file.read_text()
    display.finish([])
    assert json.loads(file.read_text()) == {}


def test_a_file_that_cannot_be_written_fails_no_search(clock: Clock, tmp_path: Path) -> None:
    display = Progress("study", 200, 0, True, Console(file=io.StringIO()), activity_file=tmp_path / "none" / "now")
    display.update(**state(1))
