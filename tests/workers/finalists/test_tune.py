"""Halving among the tunings of each architecture, and what Tune's callbacks make of results; no Ray is started."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from nas.errors import InvalidInputError, NasError
from nas.finalists.plan import FinalJob
from nas.records import FinalTraining, RungScore
from workers.evaluation import EvaluationConfig
from workers.finalists.tune import AshaPerArchitecture, _Progress, _Watch, milestone, probing_work
from workers.training.recipes import RECIPES

STOP = TrialScheduler.STOP
CONTINUE = TrialScheduler.CONTINUE


def trial(scheduler: AshaPerArchitecture, name: str, number: int) -> Any:
    made: Any = SimpleNamespace(trial_id=name, config={"job": {"trial_number": number}})
    scheduler.on_trial_add(None, made)
    return made


def decisions(scheduler: AshaPerArchitecture, trial: Any, top1: Sequence[float]) -> list[str]:
    found = []
    for rung, score in enumerate(top1):
        found.append(scheduler.on_trial_result(None, trial, {"milestone": milestone(rung), "top1": score}))
        if found[-1] == STOP:
            break
    return found


def tuning(number: int, letter: str, *top1: float) -> FinalTraining:
    rungs = tuple(RungScore(rung, 10 * (rung + 1), score, 1.0, 1.0) for rung, score in enumerate(top1))
    return FinalTraining(number, {}, letter * 64, 0, "tuning", "COMPLETE", rungs=rungs)


def test_the_worse_half_of_one_architecture_is_stopped_at_each_rung() -> None:
    scheduler = AshaPerArchitecture(3, ())
    first, second, third = (trial(scheduler, name, 1) for name in "abc")
    assert decisions(scheduler, first, [0.5, 0.6, 0.7]) == [CONTINUE, CONTINUE, STOP]  # the last is the end
    assert decisions(scheduler, second, [0.4]) == [STOP]
    assert decisions(scheduler, third, [0.6, 0.5]) == [CONTINUE, STOP]


def test_architectures_do_not_compete() -> None:
    scheduler = AshaPerArchitecture(2, ())
    large = trial(scheduler, "a", 1)
    small = trial(scheduler, "b", 2)
    assert decisions(scheduler, large, [0.9])[0] == CONTINUE
    assert decisions(scheduler, small, [0.1])[0] == CONTINUE


@pytest.mark.parametrize("order", [1, -1])
def test_what_ended_in_an_earlier_run_competes_too(order: int) -> None:
    ended = [tuning(1, "a", 0.5, 0.6), tuning(1, "b", 0.3), tuning(2, "a", 0.99, 0.99)][::order]
    scheduler = AshaPerArchitecture(2, ended)
    assert decisions(scheduler, trial(scheduler, "x", 1), [0.35]) == [STOP]
    assert decisions(scheduler, trial(scheduler, "y", 1), [0.55]) == [CONTINUE]


def test_after_a_kill_the_last_that_stands_is_not_stopped_by_one_that_was() -> None:
    """b lost at the second rung to a, which was killed before its end; a begins anew, and b was better at the first
    rung."""
    stopped = replace(tuning(1, "b", 0.5, 0.6), state="PRUNED")
    scheduler = AshaPerArchitecture(3, [stopped])
    assert decisions(scheduler, trial(scheduler, "a", 1), [0.4, 0.5, 0.8]) == [CONTINUE, CONTINUE, STOP]
    scheduler = AshaPerArchitecture(3, [stopped])
    first = trial(scheduler, "a", 1)
    second = trial(scheduler, "c", 1)
    assert decisions(scheduler, first, [0.4]) == [STOP]
    assert decisions(scheduler, second, [0.3, 0.3, 0.3]) == [CONTINUE, CONTINUE, STOP]


def test_one_that_failed_does_not_stand() -> None:
    scheduler = AshaPerArchitecture(2, [])
    first, second, third = (trial(scheduler, name, 1) for name in "abc")
    assert decisions(scheduler, first, [0.9]) == [CONTINUE]
    scheduler.on_trial_result(
        None, first, {"milestone": milestone(1), "top1": 0.0, "reason": "a loss that is not finite"}
    )
    scheduler.on_trial_error(None, second)
    assert decisions(scheduler, third, [0.1]) == [CONTINUE]


def watched(error: Exception | None = None) -> tuple[_Watch, Any, list[tuple[FinalJob, _Progress]]]:
    """A watch over one training, its trial in Tune, and what was handed over."""
    job = FinalJob(3, {}, {"rungs": [1, 2]}, "a" * 64, 0, "final")
    handed_over: list[tuple[FinalJob, _Progress]] = []

    def finished(job: FinalJob, progress: _Progress) -> None:
        if error is not None:
            raise error
        handed_over.append((job, progress))

    return _Watch({job.key: job}, finished), SimpleNamespace(trial_id="t", config={"job": asdict(job)}), handed_over


def result(rung: int, top1: float, *, last: bool = False) -> dict[str, Any]:
    score = asdict(RungScore(rung, rung + 1, top1, 1.0, 1.0))
    ending = {"weights_sha256": "c" * 64, "test_top1": 0.7} if last else {"weights_sha256": None, "test_top1": None}
    return {"score": score, "last": last, **ending, "reason": None, "device": "cpu"}


def test_a_training_is_handed_over_once_with_every_rung_also_after_a_retry() -> None:
    watch, trial, handed_over = watched()
    for one in (
        result(0, 0.5),
        result(0, 0.5),
        result(1, 0.6, last=True),
    ):  # the second comes from a worker that took the training up
        watch.on_trial_result(0, [], trial, one)
    watch.on_trial_complete(0, [], trial)
    assert handed_over == []
    for _ in range(2):
        watch.on_step_end(0, [])
    [(job, progress)] = handed_over
    assert watch.handed_over == {job.key}
    assert [progress.scores[rung].top1 for rung in sorted(progress.scores)] == [0.5, 0.6]
    assert (progress.last, progress.test_top1, progress.reason) == (True, 0.7, None)
    assert progress.weights_sha256 == "c" * 64


def test_an_error_of_the_record_ends_the_run_and_is_not_taken_for_one_of_the_training() -> None:
    watch, trial, _ = watched(NasError("the disk is full"))
    watch.on_trial_result(0, [], trial, result(1, 0.6, last=True))
    watch.on_trial_complete(0, [], trial)
    with pytest.raises(NasError, match="the disk is full"):
        watch.on_step_end(0, [])
    assert watch.handed_over == set()


def test_a_node_that_does_not_see_the_folder_is_refused(tmp_path: Path) -> None:
    config = EvaluationConfig(data="digits", recipe=RECIPES["nano"])
    (tmp_path / "mark").touch()
    work = probing_work()
    work.open((config, str(tmp_path / "mark")), "probe")
    with pytest.raises(InvalidInputError, match="elsewhere is another folder there; give --artifacts on a file system"):
        work.open((config, str(tmp_path / "elsewhere" / "mark")), "probe")
    with pytest.raises(InvalidInputError, match="differ from those of the study"):
        work.open((replace(config, data_fingerprint="0" * 64), str(tmp_path / "mark")), "probe")
