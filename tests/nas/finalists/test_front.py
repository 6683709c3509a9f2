"""What the final front says of the finalists."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from nas.errors import NasError
from nas.finalists.front import final_front, final_front_faults, front_probabilities, full_training
from nas.finalists.plan import FinalJob
from nas.finalists.run import run_finals
from nas.pareto.picks import pick_trial
from nas.records import FinalTraining
from nas.reports.final_fronts import final_front_text
from tests.doubles import MemoryFinals
from tests.finals import FACTS, STUDY, Trainer, ended, finals, run


def test_the_interval_is_students_and_the_front_is_by_means() -> None:
    store = MemoryFinals()
    front = run(store, Trainer(), finals(num_seeds=3))
    top1 = [
        training.test_top1 for training in store.trainings if training.trial_number == 2 and training.purpose == "final"
    ]
    two = front.finalists[1]
    assert (two.trial_number, two.seeds, two.recipe_hash) == (2, (8, 9, 10), "b" * 64)
    assert two.top1 == pytest.approx(np.mean(top1))
    assert two.top1_std == pytest.approx(np.std(top1, ddof=1))
    low, high = stats.t.interval(0.95, 2, loc=np.mean(top1), scale=stats.sem(top1))
    assert (two.top1_low, two.top1_high) == pytest.approx((low, high))
    assert (two.cost, two.cost_low, two.cost_high) == (4.0, 3.8, 4.4)
    assert [member.trial_number for member in front.members] == [0, 2, 3]
    text = final_front_text(front, FACTS, STUDY)
    assert "3 of 3 finalists on the final front" in text
    assert f"{two.top1:.4f} ({low:.4f} to {high:.4f})" in text and "4.00 ms (3.80 to 4.40)" in text


def test_a_finalist_that_loses_stays_with_its_probability() -> None:
    store = MemoryFinals()
    run(store, Trainer(), finals())
    store.trainings = [
        replace(training, test_top1=0.1) if training.trial_number == 3 and training.test_top1 else training
        for training in store.trainings
    ]
    front = final_front(finals(), store.trainings, None)
    assert front is not None
    assert [(finalist.trial_number, finalist.on_front) for finalist in front.finalists] == [
        (0, True),
        (2, True),
        (3, False),
    ]
    assert front.finalists[2].front_probability < 0.1


def test_finalists_without_two_scores_are_left_out_and_none_at_all_is_an_error() -> None:
    store = MemoryFinals()
    run(store, Trainer(), finals())
    failed = [
        replace(t, state="FAIL", reason="diverged") if (t.trial_number, t.seed) == (2, 9) else t
        for t in store.trainings
    ]
    front = final_front(finals(), failed, None)
    assert front is not None
    assert [finalist.trial_number for finalist in front.finalists] == [0, 3]

    def diverge(
        jobs: Sequence[FinalJob], ended_: Sequence[FinalTraining], record: Callable[[FinalTraining], None]
    ) -> None:
        for job in jobs:
            record(replace(ended(job, 0.5), state="FAIL", reason="non-finite loss", rungs=(), test_top1=None))

    lines: list[str] = []
    with pytest.raises(NasError, match="no finalist has 2 final trainings that ended"):
        run_finals(finals(), MemoryFinals(), diverge, lines.append, lambda: None)
    assert (
        "tuning 1/6: trial 0, learning rate 0.001, weight decay 0.05, drop path rate 0.1, seed 7: failed, "
        "non-finite loss" in lines
    )


def test_without_test_images_validation_counts() -> None:
    store = MemoryFinals()
    run(store, Trainer(), finals())
    front = final_front(replace(finals(), split="validation"), store.trainings, None)
    assert front is not None
    top1 = [training.top1 for training in store.trainings if training.trial_number == 0 and training.purpose == "final"]
    assert front.finalists[0].top1 == pytest.approx(np.mean(top1))


def test_a_finalist_is_represented_by_the_training_that_was_best_on_validation() -> None:
    store = MemoryFinals()
    front = run(store, Trainer(), finals(num_seeds=3))
    store.trainings = [
        replace(t, test_top1=0.99) if (t.trial_number, t.seed) == (2, 9) and t.test_top1 else t for t in store.trainings
    ]
    full = full_training(front, store.trainings, 2)
    assert full is not None
    assert (full.finalist, full.split, full.training.seed, full.training.purpose) == (
        front.finalists[1],
        "test",
        8,
        "final",
    )
    assert full.scores == pytest.approx((0.67, 0.99, 0.66))
    assert full_training(front, store.trainings, 1) is None
    assert full_training(None, store.trainings, 2) is None
    assert pick_trial("accuracy", front, FACTS, "latency_ms").trial_number == 3


def test_a_final_front_that_differs_from_its_trainings_is_found() -> None:
    store = MemoryFinals()
    front = run(store, Trainer(), finals())
    assert final_front_faults(front, store.trainings) == []
    tampered = [
        replace(t, test_top1=0.99) if (t.trial_number, t.seed) == (2, 9) and t.test_top1 else t for t in store.trainings
    ]
    missing = [training for training in store.trainings if (training.trial_number, training.seed) != (2, 9)]
    for trainings in (tampered, missing):
        assert final_front_faults(front, trainings) == ["final front 1: trial 2 differs from its recorded trainings"]


def test_probabilities_have_their_closed_forms() -> None:
    fixed = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    two = np.array([2, 2])
    # The cheaper one is always on the front, the other one when it draws the higher top1: half the time with equal
    # means.
    means = np.array([0.8, 0.8])
    errors = np.array([0.01, 0.01])
    assert front_probabilities(means, errors, two, fixed, 0) == pytest.approx([1, 0.5], abs=0.02)
    assert front_probabilities(np.array([0.8, 0.81]), 0 * errors, two, fixed, 0) == pytest.approx([1, 1])
    assert front_probabilities(np.array([0.81, 0.8]), 0 * errors, two, fixed, 0) == pytest.approx([1, 0])
    # One top1 known, the other about it with a t distribution: P(t > 1) with 2 degrees of freedom.
    shares = front_probabilities(np.array([0.81, 0.8]), np.array([0.0, 0.01]), two, fixed, 1)
    assert shares[1] == pytest.approx(stats.t.sf(1, 2), abs=0.02)
    # Equal top1, latencies with intervals of 10 % whose logarithms are 5 % apart: who is faster alone is on the front.
    costs = np.array([[1.0, 1 / 1.1, 1.1], [1.05, 1.05 / 1.1, 1.05 * 1.1]])
    sigma = np.log(1.1) / stats.norm.ppf(0.975)
    first = stats.norm.cdf(np.log(1.05) / (np.sqrt(2) * sigma))
    assert front_probabilities(means, 0 * errors, two, costs, 2) == pytest.approx([first, 1 - first], abs=0.02)
