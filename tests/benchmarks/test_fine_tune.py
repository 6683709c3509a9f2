"""An entry of grey images learns colour ones, and a stopped run goes on from its rows."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.fine_tune import gain, register, run
from benchmarks.rows import append_row, read_rows
from search_spaces.zoo.export import export_model
from tests.zoo_entries import architecture, card_of, trained, weights_of
from workers.training.recipes import RECIPES

TINY = replace(RECIPES["nano"], rungs=(2,), batch_size=4)


def colour_images(folder: Path) -> str:
    """Two classes, four images of each for training and two for validation."""
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in ("a", "b"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return f"folder:{folder}"


def test_it_goes_on_and_pairs_the_weights_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = colour_images(tmp_path / "images")
    found = architecture(in_chans=1)
    entry = export_model(
        zoo=tmp_path / "zoo",
        name="winner",
        spec=found.to_spec(),
        weights=weights_of(trained(found)),
        card=card_of(found),
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    register(entry)
    rows = tmp_path / "rows.jsonl"
    first = list(run(entry, data, TINY, 1, rows))
    assert [(row.weights, row.seed) for row in first] == [("exported", 0), ("new", 0)]
    assert gain(first).endswith("1 seeds")
    kept = read_rows(rows)[0] | {"top1": 0.125}
    rows.unlink()
    append_row(rows, kept)
    again = list(run(entry, data, TINY, 1, rows))
    assert again == [replace(first[0], top1=0.125), first[1]]
    assert len(read_rows(rows)) == 2
