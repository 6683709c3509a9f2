"""A process knows when it has written to its database, and not that it has read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from db.engine import make_engine, reading, writing
from db.writes import Writes

INSERT = sa.text("INSERT INTO facts VALUES (1)")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path}/nas.db")
    with made.begin() as connection:
        connection.execute(sa.text("CREATE TABLE facts (number INTEGER)"))
    yield made
    made.dispose()


def test_a_write_counts_once_others_can_see_it(engine: Engine) -> None:
    writes = Writes(engine)
    with writing(engine).begin() as connection:
        connection.execute(INSERT)
        assert writes.count == 0, "nobody can see it yet"
    assert writes.count == 1
    with reading(engine).begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM facts")) == 1
    assert writes.count == 1, "who reads writes nothing"
    with writing(engine).begin() as connection:
        connection.execute(INSERT)
    assert writes.count == 2
