"""Every command on a database of a revision before 0.1.0, or of another program: one line, and the file as it was."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from db.schema import FORGOTTEN_VERSIONS, VERSION_TABLE
from tests.db.test_look import FOREIGN_VERSION, contents, make

COMMANDS = (
    ("--space", "conv_only", "--budget", "1", "--workers", "1"),
    ("status",),
    ("pareto",),
    ("explain",),
    ("export",),
    ("finalize",),
    ("profile",),
    ("audit",),
    ("dashboard",),
)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("old.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL)")
        connection.execute(f"INSERT INTO {VERSION_TABLE} VALUES ('{FORGOTTEN_VERSIONS[-1]}')")
        connection.commit()
    return tmp_path / "old.db"


@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_refused_in_one_line(run_command, old: Path, command: tuple[str, ...]) -> None:
    before = old.read_bytes()
    code, out, err = run_command(*command, "--storage", "sqlite:///old.db")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "/old.db was written before version 0.1.0" in err and "(--storage)" in err
    assert old.read_bytes() == before
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("command", COMMANDS)
def test_that_of_another_program_is_refused_in_one_line(
    run_command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "mlflow.db", FOREIGN_VERSION, "delete")
    before = contents(tmp_path)
    code, out, err = run_command(*command, "--storage", "sqlite:///mlflow.db")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "/mlflow.db belongs to another program" in err and "(--storage)" in err
    assert contents(tmp_path) == before
