"""The version of a database changes with every commit of others, and with nothing else."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from db.engine import make_engine, writing
from db.pulse import Pulse


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path}/nas.db")
    with made.begin() as connection:
        connection.execute(sa.text("CREATE TABLE facts (number INTEGER)"))
    yield made
    made.dispose()


def test_every_commit_is_felt(engine: Engine, tmp_path: Path) -> None:
    with closing(Pulse(engine)) as pulse:
        seen = [pulse.version()]
        with writing(engine).begin() as connection:
            connection.execute(sa.text("INSERT INTO facts VALUES (1)"))
            assert pulse.version() == seen[0], "nothing is committed yet, and nobody is waited for"
        seen.append(pulse.version())
        with closing(sqlite3.connect(tmp_path / "nas.db")) as other, other:
            other.execute("INSERT INTO facts VALUES (2)")
        seen.append(pulse.version())
        assert pulse.version() == seen[-1], "nobody has written since"
    assert None not in seen
    assert len(set(seen)) == 3


def test_what_cannot_be_looked_at_has_none(tmp_path: Path) -> None:
    (tmp_path / "nas.db").mkdir()
    with closing(Pulse(make_engine(f"sqlite:///{tmp_path}/nas.db"))) as pulse:
        assert pulse.version() is None
