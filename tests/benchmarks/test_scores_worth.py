"""The table of what recorded scores are worth, for as many rows as there are."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import scores_worth as module
from benchmarks.record import DIGITS, IMAGES
from benchmarks.rows import read_rows
from benchmarks.scores_worth import report, scores_of
from hybrid_nas.problems import open_problem
from nas.records import JSON


def made_up(count: int, label: str = DIGITS) -> list[JSON]:
    """Rows whose zico ranks as training does, and whose synflow the other way round."""
    rng = np.random.default_rng(0)
    num_levels = [len(gene.values) for gene in open_problem("hybrid_nano", Path(), True).genes]
    rows = []
    for levels in rng.integers(0, num_levels, (count, len(num_levels))).tolist():
        top1 = float(rng.uniform(0.2, 0.8))
        scores = {"zico": 100 * top1, "synflow": -top1, "expressivity": 1.0}
        row = {"kind": "training", "data": label, "failed": None, "seed": 0, "levels": levels, "macs": 10}
        rows.append({**row, "scores": scores, "top1": [0.1, top1 / 2, top1 - 0.1, top1]})
    return rows


def test_agreement_is_told_for_the_rows_that_there_are(tmp_path: Path) -> None:
    rows = [*made_up(12), {**made_up(1)[0], "seed": 1}, *made_up(5, IMAGES)]
    head, table = report(rows, DIGITS, 0, tmp_path / "gains.jsonl", 1)
    assert head == "digits: 12 architectures recorded with seed 0; 0 seeds of each search"
    lines = {line.split("  ")[-1].strip(): line.split() for line in table.splitlines()}
    assert lines["zico"][:2] == ["12", "1.00"]
    assert lines["synflow"][:2] == ["12", "-1.00"]
    assert lines["top1 on images"][0] == "5"
    assert "az_nas" not in lines
    assert list(report(made_up(12), IMAGES, 1, tmp_path / "gains.jsonl", 1)) == [
        "images: 0 architectures recorded with seed 0; 1 seeds of each search"
    ]


def test_searches_are_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT", (6, 13))
    rows = made_up(12)
    scores = {"zico": scores_of(rows, DIGITS)["zico"]}
    file = tmp_path / "gains.jsonl"
    first = module.search_all("hybrid_nano", scores, 1, file, 1)
    assert len(read_rows(file)) == 2
    second = module.search_all("hybrid_nano", scores, 1, file, 1)
    assert len(read_rows(file)) == 2
    assert {key: list(shares) for key, shares in first.items()} == {key: list(s) for key, s in second.items()}
