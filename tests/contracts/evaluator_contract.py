"""What every Evaluator promises, whatever carries it."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from nas.protocols import Evaluator, Event, Failed, Finished, Job, LatencyMeasured, RungReached, Started

PATIENCE_S = 60.0


def collect(
    evaluator: Evaluator, until: Callable[[Sequence[Event]], bool], patience_s: float = PATIENCE_S
) -> list[Event]:
    """Events, until the predicate holds for all of them together."""
    events: list[Event] = []
    deadline = time.monotonic() + patience_s
    while not until(events):
        assert time.monotonic() < deadline, f"still waiting after {events}"
        events += [event for event in evaluator.events(timeout_s=0.5) if not isinstance(event, Started)]
    return events


def run(evaluator: Evaluator, job: Job, *, proceed: bool = True) -> list[Event]:
    """All events of one job; every question is answered alike."""
    evaluator.submit(job)
    events: list[Event] = []
    while not events or not isinstance(events[-1], Finished | Failed):
        (event,) = collect(evaluator, bool)
        events.append(event)
        if isinstance(event, LatencyMeasured) or (isinstance(event, RungReached) and not event.last):
            evaluator.answer(job.trial_number, proceed)
    return events


class EvaluatorContract:
    """Subclass it and provide the fixtures `evaluator` (idle, two workers or more), `good_job` and `bad_job`: number ->
    Job, where the good one is timed and then trained over two rungs, and the bad one cannot be built."""

    def test_a_job_is_timed_and_trained_rung_by_rung(
        self, evaluator: Evaluator, good_job: Callable[[int], Job]
    ) -> None:
        events = run(evaluator, good_job(7))
        assert [type(event) for event in events] == [LatencyMeasured, RungReached, RungReached, Finished]
        assert {event.trial_number for event in events} == {7}
        scores = [(event.score, event.last) for event in events if isinstance(event, RungReached)]
        assert [(score.rung, last) for score, last in scores] == [(0, False), (1, True)]
        assert scores[0][0].steps < scores[1][0].steps
        assert isinstance(events[-1], Finished)
        assert events[-1].weights
        assert events[-1].worker in evaluator.activities()

    def test_stop_gives_finished_without_weights(self, evaluator: Evaluator, good_job: Callable[[int], Job]) -> None:
        timed, finished = run(evaluator, good_job(8), proceed=False)
        assert isinstance(timed, LatencyMeasured)
        assert isinstance(finished, Finished)
        assert finished.weights is None

    @pytest.mark.parametrize("proceed", [True, False])
    def test_a_job_may_be_timed_only(self, evaluator: Evaluator, good_job: Callable[[int], Job], proceed: bool) -> None:
        timed, finished = run(evaluator, replace(good_job(14), timing=0), proceed=proceed)
        assert isinstance(timed, LatencyMeasured)
        assert isinstance(finished, Finished)
        assert finished.weights is None

    def test_a_job_waits_for_its_answer(self, evaluator: Evaluator, good_job: Callable[[int], Job]) -> None:
        evaluator.submit(good_job(9))
        collect(evaluator, bool)
        assert list(evaluator.events(timeout_s=0.2)) == []
        assert any("9" in doing for doing in evaluator.activities().values())
        evaluator.answer(9, False)
        assert isinstance(collect(evaluator, bool)[-1], Finished)

    def test_jobs_run_at_once(self, evaluator: Evaluator, good_job: Callable[[int], Job]) -> None:
        for number in (10, 11):
            evaluator.submit(good_job(number))
        first = collect(evaluator, lambda events: len(events) == 2)
        assert {event.trial_number for event in first} == {10, 11}
        assert len({event.worker for event in first}) == 2
        for number in (10, 11):
            evaluator.answer(number, False)
        assert {event.trial_number for event in collect(evaluator, lambda events: len(events) == 2)} == {10, 11}

    def test_a_failure_has_a_reason_and_leaves_the_worker_usable(
        self, evaluator: Evaluator, good_job: Callable[[int], Job], bad_job: Callable[[int], Job]
    ) -> None:
        for _ in range(evaluator.num_workers):
            (failed,) = run(evaluator, bad_job(12))
            assert isinstance(failed, Failed)
            assert (failed.trial_number, failed.retryable) == (12, False)
            assert failed.reason
            assert "\n" not in failed.reason
        assert isinstance(run(evaluator, good_job(13))[-1], Finished)

    def test_more_jobs_than_workers_is_an_error_of_the_caller(
        self, evaluator: Evaluator, good_job: Callable[[int], Job]
    ) -> None:
        numbers = range(20, 20 + evaluator.num_workers)
        for number in numbers:
            evaluator.submit(good_job(number))
        with pytest.raises(AssertionError, match="more jobs than workers"):
            evaluator.submit(good_job(99))
        collect(evaluator, lambda events: len(events) == len(numbers))
        for number in numbers:
            evaluator.answer(number, False)
        collect(evaluator, lambda events: len(events) == len(numbers))

    def test_nothing_to_report_takes_the_time_given(self, evaluator: Evaluator) -> None:
        start = time.monotonic()
        assert list(evaluator.events(timeout_s=0.2)) == []
        assert 0.15 < time.monotonic() - start < 2

    def test_calibration_is_finite(self, evaluator: Evaluator, good_job: Callable[[int], Job]) -> None:
        spec = good_job(0).spec
        calibration = evaluator.calibrate(spec, spec)
        assert 0 < calibration.evaluation_s < math.inf
        assert calibration.reference_latency is not None
        assert calibration.reference_latency.median_ms > 0
