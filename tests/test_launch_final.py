"""`launch.py pareto --final` on a study whose final front was recorded by hand, and what `finalize` refuses before it
starts Ray."""

import contextlib
import csv
import io
import json
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import timm
from timm.models import save_for_hf

from db.store import open_store
from nas.records import FinalFront, Finalist
from tests.integration.test_finalize import record_study
from tests.samples import TRIALS, latest_front, study_record

Command = Callable[..., tuple[int, str, str]]
TIMES = {0: (1.0, 0.9, 1.1), 2: (4.0, 3.8, 4.4), 3: (10.0, 9.0, 10.5)}
"""Trial number -> cost, low, high."""


def finalist(number: int, top1: float, on_front: bool, probability: float) -> Finalist:
    return Finalist(
        number,
        f"{number:064x}",
        "f" * 64,
        (1, 2, 3),
        top1,
        0.01,
        top1 - 0.05,
        top1 + 0.04,
        *TIMES[number],
        on_front,
        probability,
    )


FINALISTS = (finalist(0, 0.7, True, 0.98), finalist(2, 0.9, True, 0.75), finalist(3, 0.89, False, 0.25))


@pytest.fixture
def url(sqlite_url: str) -> str:
    with contextlib.closing(open_store(sqlite_url)) as store:
        store.create_study(study_record())
        for trial in TRIALS:
            store.record("sample", trial, latest_front() if trial is TRIALS[-1] else None)
        store.record_final_front("sample", FinalFront(1, datetime(2026, 5, 4, tzinfo=UTC), "test", FINALISTS))
    return sqlite_url


def test_all_finalists_are_shown_with_their_intervals(url: str, run_command: Command) -> None:
    code, output, errors = run_command("pareto", "--final", "--storage", url)
    assert (code, errors) == (0, "")
    assert "2 of 3 finalists on the final front" in output and "top1 on test" in output
    (line,) = (line for line in output.splitlines() if line.startswith("    3"))
    assert (
        "0.8900 (0.8400 to 0.9300)" in line
        and "10.0 ms (9.00 to 10.5)" in line
        and " 0.25 " in line
        and "front" not in line
    )


def test_json_and_csv_have_every_number(url: str, run_command: Command) -> None:
    given = json.loads(run_command("pareto", "--final", "--storage", url, "--json")[1])
    assert (given["study"], given["split"], given["version"], given["objectives"]) == (
        "sample",
        "test",
        1,
        ["top1", "latency_ms"],
    )
    first, _, last = given["finalists"]
    assert (first["trial_number"], first["seeds"], first["on_front"], first["front_probability"]) == (
        0,
        [1, 2, 3],
        True,
        0.98,
    )
    assert (last["top1"], last["top1_std"], last["top1_low"], last["top1_high"]) == (0.89, 0.01, 0.84, 0.93)
    assert (last["cost"], last["cost_low"], last["cost_high"], last["on_front"]) == (10.0, 9.0, 10.5, False)
    assert last["layout"] == TRIALS[3].layout and last["macs"] == TRIALS[3].costs.macs
    rows = list(csv.DictReader(io.StringIO(run_command("pareto", "--final", "--storage", url, "--csv")[1])))
    assert [row["seeds"] for row in rows] == ["1 2 3"] * 3
    assert [{name: str(value) for name, value in row.items() if name != "seeds"} for row in given["finalists"]] == [
        {name: value for name, value in row.items() if name != "seeds"} for row in rows
    ]


def test_pictures_have_intervals_and_probabilities(url: str, run_command: Command, tmp_path: Path) -> None:
    picture = tmp_path / "final.svg"
    page = tmp_path / "final.html"
    assert run_command("pareto", "--final", "--storage", url, "--plot", str(picture), "--html", str(page))[0] == 0
    labels = set(re.findall(r"<!-- (.*?) -->", picture.read_text()))
    assert {"test top1, mean over seeds", "front (2)", "not on it (1)", "trial 2, P 0.75", "trial 3, P 0.25"} <= labels
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    shown = json.loads(found[1])
    assert [(point["trial"], point["group"], round(point["top1_low"], 6)) for point in shown["points"]] == [
        (0, "front", 0.65),
        (2, "front", 0.85),
        (3, "finished", 0.84),
    ]
    assert shown["top1Axis"] == "test top1, mean over seeds" and "probability 0.75" in shown["points"][1]["label"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--history",), "--final and --history are both given; give one of them"),
        (("--latency-target", "cpu"), "--final and --latency-target are both given; give one of them"),
    ],
)
def test_what_has_no_final_front_is_refused(
    url: str, run_command: Command, words: tuple[str, ...], message: str
) -> None:
    code, _, errors = run_command("pareto", "--final", "--storage", url, *words)
    assert (code, message in errors) == (2, True)


def test_a_study_without_finalists_says_what_to_do(sqlite_url: str, run_command: Command) -> None:
    with contextlib.closing(open_store(sqlite_url)) as store:
        store.create_study(study_record())
        for trial in TRIALS:
            store.record("sample", trial, latest_front() if trial is TRIALS[-1] else None)
    code, _, errors = run_command("pareto", "--final", "--storage", sqlite_url)
    assert (
        code,
        f"has no final front yet; `launch.py finalize --study sample --storage {sqlite_url}` makes one" in errors,
    ) == (1, True)


def test_a_teacher_that_cannot_teach_is_refused_before_anything_starts(
    run_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_study(tmp_path).close()
    monkeypatch.chdir(tmp_path)
    save_for_hf(
        timm.create_model("test_resnet", num_classes=7, in_chans=1), tmp_path / "other", safe_serialization=True
    )
    code, output, errors = run_command("finalize", "--study", "s", "--recipe", "own.json", "--teacher", "other")
    assert (code, output) == (2, "")
    assert "error: teacher 'other' has 7 classes, the data 10" in errors
    with contextlib.closing(sqlite3.connect("runs/nas.db")) as connection:
        connection.execute("UPDATE nas_studies SET data_location = 'folder:/moved/away'")
        connection.commit()
    code, _, errors = run_command("finalize", "--study", "s", "--recipe", "own.json", "--teacher", "other")
    assert (code, "/moved/away/train cannot be listed" in errors, "name them with --data" in errors) == (2, True, True)
    words = ("finalize", "--study", "s", "--recipe", "own.json", "--teacher", "other", "--data", "digits")
    assert "error: teacher 'other' has 7 classes, the data 10" in run_command(*words)[2]
    (tmp_path / "own.json").write_text('{"rungs": [4], "batch_size": 4, "learning_rate": 0.1, "distillation": "hard"}')
    code, _, errors = run_command("finalize", "--study", "s", "--recipe", "own.json", "--data", "digits")
    assert (code, "the recipe gives distillation, and there is no teacher" in errors) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samples", "1000000000"], "--samples is 1000000000; expected a number, at least 1 and at most 1000"),
        (["--seeds", "1000000000"], "--seeds is 1000000000; expected a number, at least 2 and at most 1000"),
        (["--gpus-per-worker", "nan"], "--gpus-per-worker is nan; expected a number, at least 0"),
        (["--workers", "2", "--gpus-per-worker", "1000"], "2 workers need 2000 GPUs, and torch sees"),
        (["--artifacts", "/proc/here"], "/proc/here/finalists cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_starts(
    run_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    record_study(tmp_path).close()
    monkeypatch.chdir(tmp_path)
    code, output, errors = run_command("finalize", "--study", "s", "--recipe", "own.json", *options)
    assert (code, output, errors.count("\n")) == (2, "", 1), errors
    assert message in errors
