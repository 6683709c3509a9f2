"""The recording of hybrid_nano goes on after a kill, and trains nothing twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import record
from benchmarks.record import Place, open_context, open_space, orders, propose, random_rows, train
from benchmarks.rows import read_rows
from workers.training.recipes import RECIPES

TINY = replace(RECIPES["nano"], rungs=(8,), batch_size=16)
KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from benchmarks import record
from workers.training.recipes import RECIPES
record.default_recipe = lambda source: replace(RECIPES["nano"], rungs=(8,), batch_size=16)
place = record.Place(Path(sys.argv[1]), "digits", "digits")
for part, row, seed in record.orders(place, ["random"]):
    record.train(place, part, row, seed)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(record, "default_recipe", lambda source: TINY)
    open_context.cache_clear()
    yield Place(tmp_path / "rows.jsonl", "digits", "digits")
    open_context.cache_clear()


@pytest.mark.slow
def test_it_goes_on_after_a_kill(place: Place) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(place.rows)], env=environment)
    while len(read_rows(place.rows)) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = read_rows(place.rows)
    for order in list(orders(place, ["random"]))[: len(before) + 2]:
        train(place, *order)
    rows = read_rows(place.rows)
    assert rows[: len(before)] == before and len(rows) == len(before) + 2
    drawn = random_rows(open_space("digits"), len(rows))
    assert len({row["architecture"] for row in rows}) == len(rows) == len(set(drawn))


def test_a_row_says_everything_and_comes_out_again(place: Place) -> None:
    row = train(place, "random", random_rows(open_space("digits"), 1)[0], 1)
    assert row["steps"] == [1, 2, 4, 8] and len(row["top1"]) == len(row["cpu_s"]) == 4
    assert {"zico", "synflow", "expressivity", "progressivity", "trainability"} == set(row["scores"])
    place.rows.unlink()
    again = train(place, "random", tuple(row["levels"]), 1)
    clocks = {"training_s", "cpu_s"}
    assert {name: row[name] for name in row.keys() - clocks} == {name: again[name] for name in again.keys() - clocks}


def test_a_search_proposes_and_goes_on(place: Place) -> None:
    propose(place, "nsga2", 2)
    before = read_rows(place.rows)
    propose(place, "nsga2", 4)
    rows = read_rows(place.rows)
    assert [row["part"] for row in rows] == ["proposed by nsga2"] * 4
    assert rows[:2] == before


def test_seeds_and_images_are_those_of_the_first_random_architectures(place: Place) -> None:
    drawn = [row for _, row, _ in orders(place, ["random"])]
    assert [row for _, row, _ in orders(place, ["images"])] == drawn[:150]
    assert [(row, seed) for _, row, seed in orders(place, ["seeds"])][:4] == [
        (drawn[0], 0),
        (drawn[0], 1),
        (drawn[0], 2),
        (drawn[1], 0),
    ]
