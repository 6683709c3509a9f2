"""Growth of the hypervolume, replayed from the facts."""

import csv
import io
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from nas.pareto.front import FrontKeeper
from nas.pareto.history import history_csv, history_json, history_of, history_text
from nas.reports.plots import html_history, plot_history
from tests.samples import REFERENCE_POINT, TRIALS, study_record, trial

HISTORY = history_of(TRIALS, "latency_ms", REFERENCE_POINT)


def test_every_growth_says_what_had_been_spent() -> None:
    assert [(step.trial_number, step.evaluated, step.device_s, step.members) for step in HISTORY.growths] == [
        (0, 1, 4.0, 1),
        (2, 3, 12.0, 2),
        (3, 4, 16.0, 3),
    ]
    assert (HISTORY.evaluated, HISTORY.device_s, HISTORY.stalled) == (5, 20.5, 1)


def test_order_of_ending_counts_and_not_that_of_the_numbers() -> None:
    history = history_of(reversed(TRIALS), "latency_ms", REFERENCE_POINT)
    spent = [(step.trial_number, step.evaluated, step.device_s) for step in history.growths]
    assert spent == [(3, 2, 8.5), (2, 3, 12.5), (1, 4, 16.5), (0, 5, 20.5)]
    assert history.growths[-1].hypervolume == HISTORY.growths[-1].hypervolume


def test_volumes_are_those_of_the_snapshots() -> None:
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT)
    snapshots = [front for facts in TRIALS if (front := keeper.add(facts))]
    assert [step.hypervolume for step in HISTORY.growths] == [front.hypervolume for front in snapshots]


def test_a_front_that_gains_a_point_beyond_the_reference_has_not_grown() -> None:
    history = history_of([trial(0, 0.5, 1.0), trial(1, 0.9, 25.0), trial(2, 0.5, 1.0)], "latency_ms", REFERENCE_POINT)
    assert len(history.growths) == 1
    assert history.stalled == 2


def test_failed_and_rejected_trials_cost_time_and_no_patience() -> None:
    history = history_of(TRIALS[5:], "latency_ms", REFERENCE_POINT)
    assert (history.growths, history.evaluated, history.device_s, history.stalled) == ((), 0, 2.5, 0)


def test_a_keeper_that_continues_counts_on() -> None:
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT, stalled=3)
    keeper.add(trial(0, 0.05, 1.0))
    assert keeper.stalled == 4
    keeper.add(trial(1, 0.5, 1.0))
    assert keeper.stalled == 0


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


def test_picture_has_two_panels_of_steps(tmp_path: Path) -> None:
    plot_history(tmp_path / "history.svg", HISTORY, study_record())
    drawing = (tmp_path / "history.svg").read_text()
    assert {"architectures evaluated", "device time, s", "hypervolume"} <= set(re.findall(r"<!-- (.*?) -->", drawing))
    curves = re.findall(r'<path d="([^"]*)"[^>]*stroke: #1b7f5c; stroke-width: 1.5', drawing)
    # From nothing over three growths to now: five corners and as many steps between them.
    assert [len(re.findall(r"[-\d.]+ [-\d.]+", curve)) for curve in curves] == [9, 9]


@pytest.mark.parametrize("seconds", [30.0, 300.0, 30_000.0])
def test_page_is_one_file_without_network(tmp_path: Path, seconds: float) -> None:
    history = history_of([trial(0, 0.5, 1.0, duration_s=seconds)], "latency_ms", REFERENCE_POINT)
    html_history(tmp_path / "history.html", history, study_record(name="</script><b>"))
    page = (tmp_path / "history.html").read_text()
    assert "default-src 'none'" in page and not re.search(r"(src|href)=", page)
    assert page.count("</script>") == 2 and "<b>" not in page and not re.search("__[A-Z]+__", page)
    assert f'"device time, {"s" if seconds < 120 else "min" if seconds < 7200 else "h"}"' in page


def test_a_history_without_growth_can_be_shown(tmp_path: Path) -> None:
    empty = history_of((), "latency_ms", REFERENCE_POINT)
    plot_history(tmp_path / "history.png", empty, study_record())
    html_history(tmp_path / "history.html", empty, study_record())
    assert history_text(empty, study_record()).endswith("0 evaluated in 0 s of device time; no growth in the last 0")
