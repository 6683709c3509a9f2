"""Finalists: who is chosen, what is trained and how often, what the final front says."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from nas.errors import InvalidInputError, NasError
from nas.finalists.plan import (
    FinalJob,
    Finals,
    Variant,
    choose_finalists,
    final_front,
    final_front_faults,
    front_probabilities,
    full_training,
    run_finals,
)
from nas.pareto.picks import pick_trial
from nas.records import FinalFront, FinalTraining, RungScore
from nas.reports.final_fronts import final_front_text
from tests.doubles import MemoryFinals
from tests.samples import TRIALS, latest_front, study_record

FACTS = {trial.trial_number: trial for trial in TRIALS}
VARIANTS = tuple(
    Variant({"rungs": [4, 8], "learning_rate": rate, "weight_decay": 0.05, "drop_path_rate": 0.1}, letter * 64)
    for letter, rate in (("a", 1e-3), ("b", 2e-3))
)
SEARCH = study_record()


def finals(num_seeds: int = 2, *, numbers: Sequence[int] = (0, 2, 3), variants: Sequence[Variant] = VARIANTS) -> Finals:
    return Finals(SEARCH, tuple(FACTS[number] for number in numbers), variants, num_seeds, "test")


def ended(job: FinalJob, top1: float) -> FinalTraining:
    test = top1 - 0.1 if job.final else None
    rungs = (RungScore(0, 8, top1, 1.0, 2.0),)
    return FinalTraining(
        job.trial_number, job.recipe, job.recipe_hash, job.seed, job.purpose, "COMPLETE", rungs=rungs, test_top1=test
    )


def score_of(job: FinalJob) -> float:
    """Variant b is better for trial 2 only; seeds differ a little."""
    better = (job.recipe_hash[0] == "b") == (job.trial_number == 2)
    return 0.5 + 0.1 * job.trial_number + 0.05 * better + 0.01 * (job.seed % 3)


class Trainer:
    """Trains at once and is killed after some trainings."""

    def __init__(self, killed_after: int | None = None) -> None:
        self.done: list[str] = []
        self.killed_after = killed_after

    def __call__(
        self, jobs: Sequence[FinalJob], ended_: Sequence[FinalTraining], record: Callable[[FinalTraining], None]
    ) -> None:
        for job in jobs:
            if len(self.done) == self.killed_after:
                raise KeyboardInterrupt
            self.done.append(job.key)
            record(ended(job, score_of(job)))


def run(store: MemoryFinals, trainer: Trainer, wanted: Finals) -> FinalFront:
    return run_finals(wanted, store, trainer, lambda text: None, lambda: None)


def test_finalists_are_those_that_dominate_most_together() -> None:
    front = latest_front()
    assert [trial.trial_number for trial in choose_finalists(SEARCH, front, FACTS, 8)] == [0, 2, 3]
    # Trial 2 dominates (0.8 - 0.1) ln(20 / 4) = 1.13, trial 0 0.4 ln 20 = 1.20, trial 3 0.75 ln 2.5 = 0.69.
    assert [trial.trial_number for trial in choose_finalists(SEARCH, front, FACTS, 1)] == [0]
    assert [trial.trial_number for trial in choose_finalists(SEARCH, front, FACTS, 2)] == [0, 2]
    with pytest.raises(InvalidInputError, match="'sample' has no front yet; let the search finish"):
        choose_finalists(SEARCH, None, FACTS, 8)


def test_every_finalist_is_tuned_with_the_seed_of_the_study_and_then_trained_with_others_at_its_best() -> None:
    store = MemoryFinals()
    trainer = Trainer()
    run(store, trainer, finals())
    tunings = [training for training in store.trainings if training.purpose == "tuning"]
    last = [(t.trial_number, t.recipe_hash[0], t.seed) for t in store.trainings if t.purpose == "final"]
    assert [(t.trial_number, t.recipe_hash[0]) for t in tunings] == [(n, v) for v in "ab" for n in (0, 2, 3)]
    assert {t.seed for t in tunings} == {SEARCH.seed}
    assert last == [(0, "a", 8), (2, "b", 8), (3, "a", 8), (0, "a", 9), (2, "b", 9), (3, "a", 9)]


@pytest.mark.parametrize("killed_after", [0, 4, 8, 11])
def test_an_interrupted_run_goes_on_and_repeats_nothing(killed_after: int) -> None:
    whole = MemoryFinals()
    expected = run(whole, Trainer(), finals())
    store = MemoryFinals()
    first = Trainer(killed_after)
    second = Trainer()
    third = Trainer()
    with pytest.raises(KeyboardInterrupt):
        run(store, first, finals())
    front = run(store, second, finals())
    assert len(first.done) == killed_after
    assert sorted(first.done + second.done) == sorted({training.key for training in whole.trainings})
    assert front.finalists == expected.finalists
    assert run(store, third, finals()) == front
    assert third.done == []


def test_more_seeds_and_settings_add_to_what_is_there() -> None:
    store = MemoryFinals()
    assert run(store, Trainer(), finals()).version == 1
    more = Trainer()
    front = run(store, more, finals(num_seeds=3))
    assert len(more.done) == 3
    assert (front.version, [len(finalist.seeds) for finalist in front.finalists]) == (2, [3, 3, 3])
    better = Variant({**VARIANTS[0].recipe, "learning_rate": 9.0}, "c" * 64)
    more = Trainer()
    front = run(store, more, finals(variants=(*VARIANTS, better)))
    assert len(more.done) == 3  # tunings of the new one, which is chosen nowhere
    assert [len(finalist.seeds) for finalist in front.finalists] == [2, 2, 2]


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
    text = final_front_text(front, FACTS, SEARCH)
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


def test_a_study_that_was_taken_over_records_nothing() -> None:
    def lost() -> None:
        raise NasError("another process owns it")

    store = MemoryFinals()
    with pytest.raises(NasError, match="another process"):
        run_finals(finals(), store, Trainer(), lambda text: None, lost)
    assert store.trainings == []


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
