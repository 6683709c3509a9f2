"""What is waited for, on a terminal and elsewhere."""

import io
import sys

import pytest

from nas.search.steps import Steps


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called in the test: pytest puts an output of its own in place after the fixtures."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")
    return terminal


def test_elsewhere_each_step_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    said: list[str] = []
    steps = Steps(said.append, quiet=False)
    steps.show("starting Ray")
    steps.say("note: something")
    steps.show("starting 2 workers: 0 of 2 ready")
    steps.close()
    assert said == ["starting Ray", "note: something", "starting 2 workers: 0 of 2 ready"]
    assert sys.stdout.getvalue() == ""


def test_on_a_terminal_a_step_replaces_the_one_before_and_lines_stay_above(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_terminal(monkeypatch)
    steps = Steps(lambda text: print(text), quiet=False)
    steps.show("starting Ray")
    steps.show("x" * 40)
    steps.say("note: something")
    steps.close()
    steps.close()
    clear = "\r\x1b[2K"
    long = "x" * 29
    assert terminal.getvalue() == f"{clear}starting Ray{clear}{long}{clear}note: something\n{clear}{long}{clear}"


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    said: list[str] = []
    Steps(said.append, quiet=False).show("starting Ray")
    assert (said, terminal.getvalue()) == (["starting Ray"], "")


def test_a_quiet_search_shows_no_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_terminal(monkeypatch)
    Steps(print, quiet=True).show("starting Ray")
    assert terminal.getvalue() == ""


def test_a_terminal_that_is_gone_fails_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = on_terminal(monkeypatch)
    said: list[str] = []
    steps = Steps(said.append, quiet=False)
    terminal.close()
    steps.show("starting Ray")
    assert said == []
    Steps(said.append, quiet=False).show("starting Ray")
    assert said == []
