"""What is said of studies and at the end of a search."""

from dataclasses import replace
from datetime import UTC, datetime

from nas.records import Latency, Lease, ProcessId, Retiming
from nas.reports.fronts import front_text
from nas.reports.status import closing_lines, status_text, studies_text, summarize
from tests.samples import TARGET, TRIALS, latest_front, study_record

OWNER = Lease("node-a", ProcessId(4242, 1.0), datetime(2026, 5, 4, 4, 0, tzinfo=UTC))


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


def closing(front: bool = True, cost_objective: str = "latency_ms", is_complete: bool = True) -> list[str]:
    study = study_record(cost_objective)
    slower = Latency(TARGET, {}, 6.0, 5.5, 6.5, 7.0, 30)
    return closing_lines(
        study,
        latest_front(cost_objective) if front else None,
        TRIALS,
        {trial.trial_number: [trial.latency] for trial in TRIALS},
        [Retiming(TARGET, {0: slower})],
        reason="budget reached",
        is_complete=is_complete,
        where="database nas.db, artifacts a, log l",
        next_steps=["pareto --study sample", "dashboard"],
    )


def test_a_search_that_is_done_shows_its_front_and_says_what_to_type_next() -> None:
    *table, head, reason, where, what_next = closing()
    again = front_text(latest_front(), TRIALS, study_record())
    assert table[0] == table[2] == "" and table[1].splitlines()[0] == again.splitlines()[0]
    assert "timed again" in table[1] and head.startswith("1 of 3 members of the front timed again")
    assert (reason, where) == ("budget reached", "database nas.db, artifacts a, log l")
    assert what_next == "next: launch.py pareto --study sample | launch.py dashboard"


def test_a_counted_cost_is_said_not_to_be_timed_again() -> None:
    assert "the front is not timed again: its cost, macs, is counted" in closing(cost_objective="macs")


def test_a_search_that_was_stopped_says_how_it_goes_on() -> None:
    lines = closing(is_complete=False)
    assert lines[-2] == "the same command continues"
    assert not any("timed again:" in line for line in lines), "that comes at the end"


def test_a_search_without_a_front_says_where_things_are() -> None:
    assert closing(front=False) == ["budget reached", "database nas.db, artifacts a, log l", closing()[-1]]
