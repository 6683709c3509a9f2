"""A process knows when it has written to its database, and not that it has read."""

import sqlalchemy as sa
from sqlalchemy import Engine

from db.engine import looking, reading, writing
from db.writes import Writes

INSERT = sa.text("INSERT INTO facts VALUES (1)")


def test_a_write_counts_once_others_can_see_it(facts_engine: Engine) -> None:
    writes = Writes(facts_engine)
    with writing(facts_engine).begin() as connection:
        connection.execute(INSERT)
        assert writes.count == 0, "nobody can see it yet"
    assert writes.count == 1
    for reader in (reading(facts_engine), looking(facts_engine)):
        with reader.begin() as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM facts")) == 1
    assert writes.count == 1, "who reads writes nothing"
    with writing(facts_engine).begin() as connection:
        connection.execute(INSERT)
    assert writes.count == 2
