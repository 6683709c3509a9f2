"""Fronts as tables, JSON and CSV."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest

from nas.pareto.front import FrontKeeper
from nas.pareto.places import places
from nas.records import Front, Latency, Retiming
from nas.reports.fronts import front_csv, front_json, front_text
from tests.samples import REFERENCE_POINT, TARGET, TRIALS, latest_front, study_record


def test_front_table_shows_members_by_cost_with_interval_and_knee() -> None:
    head, columns, *rows = front_text(latest_front(), reversed(TRIALS), study_record()).splitlines()
    assert head.startswith("sample: 3 points, version 3") and head.endswith("against top1 0.1000 and 20.0 ms")
    assert [row.split()[0] for row in rows] == ["0", "2", "3"]
    assert [row.split()[0] for row in rows if "knee" in row] == ["2"]
    assert "4.00 ms (3.80 - 4.40)" in rows[1] and "0.0400 M" in rows[1] and "8.00 M" in rows[1]
    assert all(row.index("layout") == columns.index("layout") for row in rows)


def test_front_without_members_is_still_a_table() -> None:
    empty = Front(1, datetime.now(UTC), REFERENCE_POINT, 0.0, ())
    assert "0 points" in front_text(empty, TRIALS, study_record())
    assert json.loads(front_json(empty, TRIALS, study_record()))["members"] == []


def test_json_holds_the_recorded_numbers() -> None:
    front = latest_front()
    data = json.loads(front_json(front, TRIALS, study_record()))
    assert data["objectives"] == ["top1", "latency_ms"]
    assert data["hypervolume"] == front.hypervolume
    assert [(m["trial_number"], m["top1"], m["latency_ms"]) for m in data["members"]] == [
        (member.trial_number, member.top1, member.cost) for member in front.members
    ]
    knee = data["members"][1]
    assert (
        knee["knee"]
        and knee["weights_kept"]
        and knee["param_count"] == 40_000
        and knee["latency_ci_high_ms"] == pytest.approx(4.4)
    )


def test_csv_and_json_agree() -> None:
    members = json.loads(front_json(latest_front(), TRIALS, study_record()))["members"]
    rows = list(csv.DictReader(io.StringIO(front_csv(latest_front(), TRIALS))))
    assert [{name: "" if value is None else str(value) for name, value in member.items()} for member in members] == rows


def test_second_timings_stand_beside_the_first() -> None:
    """Trial 0 (0.50, 1 ms) is now slower than trial 2 (0.80) beyond doubt, and trial 2 perhaps slower than trial 3."""
    seconds = {
        number: Latency(TARGET, {}, ms, ms - 0.5, ms + 0.5, ms, 30) for number, ms in ((0, 6.0), (2, 4.2), (3, 4.1))
    }
    again = places(latest_front(), TRIALS, Retiming(TARGET, seconds))
    _, columns, *rows = front_text(latest_front(), TRIALS, study_record(), again).splitlines()
    assert "timed again" in columns
    assert [("6.00 ms (5.50 - 6.50)" in row, "lost " in row, "lost? " in row) for row in rows] == [
        (True, True, False),
        (False, False, True),
        (False, False, False),
    ]
    members = json.loads(front_json(latest_front(), TRIALS, study_record(), again))["members"]
    assert [(m["latency_ms"], m["latency_again_ms"], m["dominated_again_by"], m["place_lost"]) for m in members] == [
        (1.0, 6.0, 3, True),
        (4.0, 4.2, 3, False),
        (8.0, 4.1, None, False),
    ]
    rows = list(csv.DictReader(io.StringIO(front_csv(latest_front(), TRIALS, again[:1]))))
    assert [row["latency_again_ms"] for row in rows] == ["6.0", "", ""]


def test_macs_fronts_need_no_timing() -> None:
    keeper = FrontKeeper("macs", REFERENCE_POINT)
    front = keeper.add(TRIALS[0])
    assert front is not None
    assert "2.00 M" in front_text(front, TRIALS, study_record("macs"))
