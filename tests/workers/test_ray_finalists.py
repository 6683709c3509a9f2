"""Halving among the tunings of each architecture; no Ray is started."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from nas.records import FinalTraining, RungScore
from workers.ray_finalists import AshaPerArchitecture, milestone

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE


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
    large, small = trial(scheduler, "a", 1), trial(scheduler, "b", 2)
    assert decisions(scheduler, large, [0.9])[0] == CONTINUE
    assert decisions(scheduler, small, [0.1])[0] == CONTINUE


@pytest.mark.parametrize("order", [1, -1])
def test_what_ended_in_an_earlier_run_competes_too(order: int) -> None:
    ended = [tuning(1, "a", 0.5, 0.6), tuning(1, "b", 0.3), tuning(2, "a", 0.99, 0.99)][::order]
    scheduler = AshaPerArchitecture(2, ended)
    assert decisions(scheduler, trial(scheduler, "x", 1), [0.35]) == [STOP]
    assert decisions(scheduler, trial(scheduler, "y", 1), [0.55]) == [CONTINUE]
