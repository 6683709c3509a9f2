"""A study seen through another target."""

from dataclasses import replace

import pytest

from nas.errors import InvalidInputError
from nas.pareto.history import history_of
from nas.pareto.targets import on_target, untimed
from nas.records import JSON, Latency
from tests.samples import REFERENCE_POINT, TARGET, TRIALS, study_record

OLD: JSON = {**TARGET, "runtime": "onnxruntime", "runtime_version": "1.0"}
NEW: JSON = {**OLD, "runtime_version": "2.0"}


def timing(target: JSON, ms: float, measured: str) -> Latency:
    return Latency(target, {"measured": measured}, ms, ms, ms, ms, 30)


TIMINGS = {
    0: [timing(OLD, 0.1, "2026-01-01"), timing(NEW, 8.0, "2026-02-01")],
    1: [timing(OLD, 0.05, "2026-01-01")],
    2: [timing(NEW, 7.0, "2026-02-01"), timing(NEW, 5.0, "2026-02-02")],
    3: [timing(NEW, 6.0, "2026-02-01")],
    5: [timing(NEW, 0.1, "2026-03-01")],
}


def test_the_front_is_of_one_fingerprint() -> None:
    """Trials 0 and 1 were fast on the old version of the runtime only; trial 5 failed."""
    view = on_target(study_record(), TRIALS, TIMINGS, {"runtime": "onnxruntime"})
    assert [(member.trial_number, member.cost) for member in view.front.members] == [(2, 5.0), (3, 6.0)]
    assert {trial.trial_number for trial in view.facts} == {0, 2, 3}
    assert view.study.target == NEW and {
        trial.latency.target["runtime_version"] for trial in view.facts if trial.latency
    } == {"2.0"}
    assert view.front.reference_point == (0.1, 8.0)
    assert view.front.hypervolume > 0


def test_the_history_counts_every_trial_whatever_it_was_timed_on() -> None:
    view = on_target(study_record(), TRIALS, TIMINGS, {"runtime": "onnxruntime"})
    own, other = (history_of(facts, "latency_ms", REFERENCE_POINT) for facts in (TRIALS, view.history))
    assert (other.evaluated, other.device_s) == (own.evaluated, own.device_s)
    assert {step.trial_number for step in other.growths} <= {0, 2, 3}


def test_the_own_target_gives_the_own_front() -> None:
    timings = {
        trial.trial_number: [trial.latency, replace(trial.latency, median_ms=0.01)] for trial in TRIALS if trial.latency
    }
    view = on_target(study_record(), TRIALS, timings, TARGET)
    assert [member.trial_number for member in view.front.members] == [0, 2, 3]
    assert view.front.reference_point == study_record().reference_point


def test_a_target_that_was_never_timed_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        InvalidInputError, match=r"no latencies on kind cuda; .*with onnxruntime 1\.0; .*with onnxruntime 2\.0"
    ):
        on_target(study_record(), TRIALS, TIMINGS, {"kind": "cuda"})


def test_untimed_goes_by_the_whole_fingerprint() -> None:
    assert [trial.trial_number for trial in untimed(TRIALS[:4], TIMINGS, NEW)] == [1]
    assert [trial.trial_number for trial in untimed(TRIALS[:4], TIMINGS, OLD)] == [2, 3]
