"""What many ask is found once, until this process writes or a second is over."""

import asyncio
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from db.engine import writing
from db.writes import Writes
from hybrid_nas.service import glance
from hybrid_nas.service.glance import Glance, once


class Reader:
    """Counts what is written, and how often somebody asked."""

    def __init__(self, engine: Engine) -> None:
        self.asked: list[str] = []
        self._engine = engine

    def write(self) -> None:
        with writing(self._engine).begin() as connection:
            connection.execute(sa.text("INSERT INTO facts VALUES (1)"))

    def count(self, name: str) -> int:
        self.asked.append(name)
        with self._engine.begin() as connection:
            found = int(connection.scalar(sa.text("SELECT count(*) FROM facts")) or 0)
        if name == "fails":
            raise ValueError(name)
        return found


def test_it_is_asked_again_once_something_was_written(facts_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "KEPT_S", 1e9)
    reader = Reader(facts_engine)

    async def look() -> None:
        known = Glance(Writes(facts_engine))
        assert await asyncio.gather(*(known.get(reader.count, "one") for _ in range(20))) == [0] * 20
        assert await known.get(reader.count, name="other") == 0
        assert reader.asked == ["one", "other"]
        reader.write()
        assert await known.get(reader.count, "one") == 1
        assert await known.get(reader.count, "one") == 1

    asyncio.run(look())
    assert reader.asked == ["one", "other", "one"]


def test_who_asks_after_a_commit_shares_no_older_look(facts_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "KEPT_S", 1e9)
    reader = Reader(facts_engine)
    counted, released = threading.Event(), threading.Event()

    def slow() -> int:
        found = reader.count("slow")
        counted.set()
        released.wait(20)
        return found

    async def look() -> list[int]:
        known = Glance(Writes(facts_engine))
        early = asyncio.create_task(known.get(slow))
        await asyncio.to_thread(counted.wait, 20)
        reader.write()
        late = asyncio.create_task(known.get(slow))
        await asyncio.sleep(0)
        released.set()
        return [await early, await late]

    assert asyncio.run(look()) == [0, 1]


def test_a_failure_is_not_kept_and_time_passes(facts_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(facts_engine)

    async def look() -> None:
        known = Glance(Writes(facts_engine))
        monkeypatch.setattr(glance, "KEPT_S", 1e9)
        for _ in range(2):
            with pytest.raises(ValueError, match="fails"):
                await known.get(reader.count, "fails")
        monkeypatch.setattr(glance, "KEPT_S", 1e-9)
        await known.get(reader.count, "kept")
        await known.get(reader.count, "kept")

    asyncio.run(look())
    assert reader.asked == ["fails", "fails", "kept", "kept"]


def test_a_moment_is_read_once_for_all_that_is_found_in_it(
    facts_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glance, "KEPT_S", 1e9)
    reader = Reader(facts_engine)

    def mark() -> int:
        return reader.count("mark")

    def found(number: int) -> tuple[int, int]:
        return number, once(mark)

    async def look() -> None:
        known = Glance(Writes(facts_engine))
        assert [await known.get(found, number) for number in range(3)] == [(0, 0), (1, 0), (2, 0)]
        assert len(reader.asked) == 1
        reader.write()
        assert await known.get(found, 0) == (0, 1)
        known.end()
        await known.get(found, 0)
        assert len(reader.asked) == 3

    asyncio.run(look())
    assert [once(mark), once(mark)] == [1, 1]
    assert len(reader.asked) == 5, "outside of a moment everything is read anew"
