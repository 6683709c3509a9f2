"""Networks of a front beside published layouts: a stopped comparison goes on from its rows, without the database."""

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import search_pays
from benchmarks.rows import append_row, read_rows
from benchmarks.search_pays import report, run_train
from nas.errors import InvalidInputError
from tests.zoo_entries import architecture
from workers.training.recipes import RECIPES

TINY = replace(RECIPES["nano"], rungs=(4, 8), batch_size=16)
NETWORKS = {"knee": (0, 1.0), "convnext/0": (1, 0.5), "convnext/1": (2, 1.1), "convnext/2": (2, 1.2)}
"""Seed of the architecture, and milliseconds; the last two are equal, as some widths are once they are repaired."""


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """A search whose networks were timed: its knee and one family in three widths."""
    monkeypatch.setattr(search_pays, "FAMILIES", ("convnext",))
    rows = tmp_path / "rows.jsonl"
    searched = {"study": "s", "evaluated": 7, "data": "digits", "recipe": TINY.to_json(), "seed": 3}
    append_row(rows, {"kind": "searched", **searched})
    for name, (seed, latency_ms) in NETWORKS.items():
        timed = {"spec": architecture(seed).to_spec(), "sittings_ms": [latency_ms], "param_count": 1000}
        append_row(rows, {"kind": "timed", "study": "s", "network": name, **timed})
    return Namespace(study="s", data=None, seeds=1, rows=rows, work=tmp_path / "work")


def test_it_trains_what_has_no_row(arguments: Namespace) -> None:
    run_train(arguments)
    *before, last = read_rows(arguments.rows)
    assert [row["network"] for row in (before[-1], last)] == ["knee", "convnext/2"]
    arguments.rows.write_text("".join(f"{json.dumps(row)}\n" for row in before))
    run_train(arguments)
    assert read_rows(arguments.rows) == [*before, last]
    assert not list(arguments.work.rglob("*.checkpoint"))


def test_the_table_says_how_many_of_how_many(arguments: Namespace) -> None:
    top1 = {("knee", 1): 0.5, ("knee", 2): 0.75, ("convnext/2", 1): 0.625}
    for (name, seed), score in top1.items():
        trained = {"seed": seed, "steps": 8, "validation_top1": score, "test_top1": score}
        append_row(arguments.rows, {"kind": "trained", "study": "s", "network": name, **trained})
    text = "\n".join(report(arguments.rows, seeds=3))
    assert "s (7 evaluated), digits: 3 of 6 trainings" in text
    assert "| knee | **the front's** | 1.00 | 1,000 | 2 | 0.6250 (0.1768) |  |" in text
    assert "| knee | convnext/2 | 1.20 | 1,000 | 1 | 0.6250 | +0.1250 |" in text


def test_a_search_that_was_not_timed_is_refused(arguments: Namespace) -> None:
    arguments.study = "other"
    with pytest.raises(InvalidInputError, match=r"has no search 'other'; expected one of s: write it with `time"):
        run_train(arguments)
