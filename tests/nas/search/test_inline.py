"""An evaluator over a plain function."""

import math

import pytest

from nas.errors import EvaluatorError
from nas.protocols import Failed, Finished, Job, LatencyMeasured, RungReached
from nas.records import JSON
from nas.search.inline import TARGET, InlineEvaluator


def job(number: int, **spec: object) -> Job:
    return Job(number, dict(spec), seed=0)


def test_a_score_is_a_training_with_one_rung() -> None:
    evaluator = InlineEvaluator(lambda spec: spec["width"] / 10, times=False)
    evaluator.submit(job(3, width=7))
    rung, finished = evaluator.events(0)
    assert isinstance(rung, RungReached) and isinstance(finished, Finished)
    assert (rung.trial_number, rung.score.top1, rung.last, finished.weights) == (3, 0.7, True, None)
    assert list(evaluator.events(0)) == []


@pytest.mark.parametrize("proceed", [True, False])
def test_a_latency_waits_for_its_answer_and_the_function_is_called_once(proceed: bool) -> None:
    calls: list[JSON] = []

    def evaluate(spec: JSON) -> tuple[float, float]:
        calls.append(spec)
        return 0.5, 2.0

    evaluator = InlineEvaluator(evaluate, times=True)
    evaluator.submit(job(1))
    (timed,) = evaluator.events(0)
    assert isinstance(timed, LatencyMeasured)
    assert (timed.latency.target, timed.latency.median_ms) == (TARGET, 2.0)
    assert list(evaluator.events(0)) == []
    evaluator.answer(1, proceed)
    kinds = [type(event) for event in evaluator.events(0)]
    assert kinds == ([RungReached, Finished] if proceed else [Finished])
    assert len(calls) == 1


def test_a_function_that_raises_is_a_failure_with_its_reason() -> None:
    def evaluate(spec: JSON) -> float:
        raise KeyError("width\nand a second line")

    evaluator = InlineEvaluator(evaluate, times=False)
    evaluator.submit(job(1))
    assert evaluator.events(0) == [Failed(1, "this process", r"KeyError: 'width\nand a second line'", retryable=False)]
    evaluator.submit(job(2))
    assert isinstance(evaluator.events(0)[0], Failed)


@pytest.mark.parametrize(
    ("times", "result", "reason"),
    [
        (False, math.nan, "the function gave nan; expected top1, finite numbers"),
        (False, "good", "the function gave 'good'; expected top1, finite numbers"),
        (False, 71.5, "the function gave 71.5; expected a top1 from 0 to 1 and a time above 0"),
        (True, 0.5, "the function gave 0.5; expected (top1, milliseconds)"),
        (True, (0.5, math.inf), "the function gave (0.5, inf); expected (top1, milliseconds)"),
        (True, (0.5, 0.0), "the function gave (0.5, 0.0); expected a top1 from 0 to 1 and a time above 0"),
    ],
)
def test_what_cannot_be_used_is_a_failure(times: bool, result: object, reason: str) -> None:
    evaluator = InlineEvaluator(lambda spec: result, times=times)
    evaluator.submit(job(1))
    (failed,) = evaluator.events(0)
    assert isinstance(failed, Failed) and reason in failed.reason


def test_ctrl_c_in_the_function_passes() -> None:
    def evaluate(spec: JSON) -> float:
        raise KeyboardInterrupt

    evaluator = InlineEvaluator(evaluate, times=False)
    evaluator.submit(job(1))
    with pytest.raises(KeyboardInterrupt):
        evaluator.events(0)


def test_the_reference_is_evaluated_only_where_it_is_a_latency() -> None:
    assert InlineEvaluator(lambda spec: 1 / 0, times=False).calibrate({}, {}).reference_latency is None
    calibration = InlineEvaluator(lambda spec: (0.5, spec["ms"]), times=True).calibrate({"ms": 3.0}, {})
    assert calibration.reference_latency is not None and calibration.reference_latency.median_ms == 3.0
    with pytest.raises(EvaluatorError, match="the slowest architecture cannot be evaluated: KeyError: 'ms'"):
        InlineEvaluator(lambda spec: (0.5, spec["ms"]), times=True).calibrate({}, {})


def test_one_job_at_a_time() -> None:
    evaluator = InlineEvaluator(lambda spec: 0.5, times=False)
    evaluator.submit(job(1))
    with pytest.raises(AssertionError, match="more jobs than workers"):
        evaluator.submit(job(2))
