"""The growth of the hypervolume as text, JSON and CSV."""

import csv
import io
import json
import re
from dataclasses import asdict

from nas.pareto.history import history_of
from nas.reports.histories import history_csv, history_json, history_text
from tests.samples import REFERENCE_POINT, TRIALS, study_record

HISTORY = history_of(TRIALS, "latency_ms", REFERENCE_POINT)


def test_table_json_and_csv_say_the_same() -> None:
    head, columns, *rows, last = history_text(HISTORY, study_record()).splitlines()
    assert head == "sample: hypervolume against top1 0.1000 and 20.0 ms, at each growth"
    assert re.split(r"\s{2,}", columns.strip()) == ["evaluated", "device time", "hypervolume", "front", "trial"]
    assert [row.split()[0] for row in rows] == ["1", "3", "4"]
    assert last == "5 evaluated in 20 s of device time; no growth in the last 1"
    data = json.loads(history_json(HISTORY, study_record()))
    assert data["growths"] == [asdict(step) for step in HISTORY.growths]
    assert (data["device_s"], data["stalled"]) == (20.5, 1)
    assert [{name: str(value) for name, value in step.items()} for step in data["growths"]] == list(
        csv.DictReader(io.StringIO(history_csv(HISTORY)))
    )


def test_a_history_without_growth_has_a_text() -> None:
    empty = history_of((), "latency_ms", REFERENCE_POINT)
    assert history_text(empty, study_record()).endswith("0 evaluated in 0 s of device time; no growth in the last 0")
