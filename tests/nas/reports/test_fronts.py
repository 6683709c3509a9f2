"""Fronts, studies and spaces as tables, JSON and CSV."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nas.pareto.front import FrontKeeper
from nas.records import Front, Latency, Lease, ProcessId, Retiming
from nas.reports.fronts import front_csv, front_json, front_text, space_text, status_text, studies_text, summarize
from nas.search.retiming import places
from tests.doubles import TinySpace
from tests.samples import REFERENCE_POINT, TARGET, TRIALS, latest_front, study_record

OWNER = Lease("node-a", ProcessId(4242, 1.0), datetime(2026, 5, 4, 4, 0, tzinfo=UTC))


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


def test_summary_counts_states_reasons_and_worker_seconds() -> None:
    summary = summarize(study_record(), TRIALS, latest_front(), OWNER)
    assert dict(summary.counts) == {"COMPLETE": 4, "PRUNED": 1, "FAIL": 2, "REJECTED": 1}
    assert summary.evaluated == 5
    assert dict(summary.reasons) == {"FAIL: non-finite loss": 2, "REJECTED: latency_ms 30 over the limit 20": 1}
    assert dict(summary.device_s) == {"COMPLETE": 16.0, "PRUNED": 2.0, "FAIL": 2.0, "REJECTED": 0.5}


def test_rejections_are_counted_by_limit() -> None:
    (rejected,) = (trial for trial in TRIALS if trial.state == "REJECTED")
    reasons = (
        "latency_ms is 20.5, over the limit of 20; macs is 1,200, over the limit of 9",
        "latency_ms is 28, over the limit of 20; macs is 10, over the limit of 9",
    )
    trials = [replace(rejected, trial_number=number, reason=reason) for number, reason in enumerate(reasons)]
    assert dict(summarize(study_record(), trials, None, None).reasons) == {
        "REJECTED: latency_ms, over the limit of 20; macs, over the limit of 9": 2
    }


def test_status_says_where_a_study_stands() -> None:
    text = status_text(summarize(study_record(), TRIALS, latest_front(), OWNER))
    for fact in (
        "evaluated     5 of 10",
        "4 COMPLETE, 1 PRUNED, 1 REJECTED, 2 FAIL",
        "device time   20 s (COMPLETE 16 s, PRUNED 2 s, FAIL 2 s)",
        "latency_ms <= 20",
        "process 4242 on node-a, last heard of at 2026-05-04 04:00 UTC",
        "2 x FAIL: non-finite loss",
    ):
        assert fact in text


def test_the_device_time_of_all_states_adds_up() -> None:
    trials = [replace(trial, duration_s=30.0) if trial.state == "REJECTED" else trial for trial in TRIALS]
    text = status_text(summarize(study_record(), trials, None, None))
    assert "device time   50 s (COMPLETE 16 s, PRUNED 2 s, REJECTED 30 s, FAIL 2 s)" in text


def test_status_of_a_study_that_has_not_begun() -> None:
    text = status_text(summarize(study_record("macs"), (), None))
    assert "evaluated     0 of 10" in text
    assert "front" not in text and "running" not in text and "target" not in text


def test_a_study_that_was_extended_is_not_called_complete() -> None:
    study = replace(study_record(), config={"budget": 4})
    assert "evaluated     5\n" in status_text(summarize(study, TRIALS, latest_front()))


def test_studies_are_listed_by_line() -> None:
    idle = summarize(study_record(name="second"), (), None)
    header, first, second = studies_text([summarize(study_record(), TRIALS, latest_front(), OWNER), idle]).splitlines()
    assert "5 of 10" in first and "0.8500" in first and "running" in first and first.endswith("sample")
    assert "0 of 10" in second and "idle" in second and second.index("second") == header.index("study")


def test_no_studies_says_how_to_begin() -> None:
    assert "launch.py --space" in studies_text([])


def test_space_table_lists_every_gene_and_the_size() -> None:
    space = TinySpace(levels=4)
    head, _, *rows = space_text(space).splitlines()
    assert head == "tiny, scale nano: 3 genes, 64 genotypes"
    assert [row.split()[0] for row in rows] == [gene.name for gene in space.genes]
    assert "1 2 3 4" in rows[0]


def test_macs_fronts_need_no_timing() -> None:
    keeper = FrontKeeper("macs", REFERENCE_POINT)
    front = keeper.add(TRIALS[0])
    assert front is not None
    assert "2.00 M" in front_text(front, TRIALS, study_record("macs"))
