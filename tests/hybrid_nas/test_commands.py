"""Commands of other packages, and the display that counts."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from hybrid_nas.commands import counting
from workers.data.source import tell

MODULE = """
import click

@click.group()
def greet():
    '''Greetings.'''

@greet.command()
@click.argument("name")
def hello(name):
    click.echo(f"hello {name}")

answer = 42
"""


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "foreign_commands.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "foreign_commands", raising=False)
    found = [
        EntryPoint("greet", "foreign_commands:greet", "hybrid_nas.commands"),
        EntryPoint("lost", "no_such_package:greet", "hybrid_nas.commands"),
        EntryPoint("odd", "foreign_commands:answer", "hybrid_nas.commands"),
        EntryPoint("status", "foreign_commands:greet", "hybrid_nas.commands"),
    ]
    monkeypatch.setattr("hybrid_nas.commands.entry_points", lambda group: found)


def test_a_group_of_another_package_is_a_command(run_command) -> None:
    assert run_command("greet", "hello", "world") == (0, "hello world\n", "")
    assert "Greetings." in run_command("greet", "--help")[1]


def test_it_is_loaded_only_when_it_is_used(run_command) -> None:
    code, out, _ = run_command("--help")
    assert code == 0 and "greet" in out and "registered by foreign_commands" in out
    assert run_command("status")[0] == 2, "ours comes first: there is no database"
    assert "foreign_commands" not in sys.modules
    run_command("greet", "hello", "world")
    assert "foreign_commands" in sys.modules


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("nope", 2, "No such command 'nope'."),
        (
            "lost",
            1,
            "the command 'lost' cannot be loaded from no_such_package:greet: No module named 'no_such_package'",
        ),
        ("odd", 1, "foreign_commands:answer is registered as the command 'odd'; expected a click command"),
    ],
)
def test_what_is_no_command_is_one_line(run_command, command: str, code: int, message: str) -> None:
    found, out, err = run_command(command)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert message in err


def test_counting_says_how_fast_and_how_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setattr("hybrid_nas.commands.time.monotonic", lambda: now_s)
    with counting():
        tell("decoding", 0, 12_000)
        now_s = 60.0
        tell("decoding", 3_000, 12_000)
        now_s = 120.0
        tell("decoding", 12_000, 12_000)
    assert capsys.readouterr().err.splitlines() == [
        "decoding: 3,000 of 12,000 images, 50 a second, 3 min 00 s left",
        "decoding: 12,000 of 12,000 images, 100 a second",
    ]
