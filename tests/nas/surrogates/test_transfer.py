"""What a surrogate takes from an earlier study."""

import numpy as np
import pytest

from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder
from nas.surrogates.transfer import Transferred

LEVELS = [4] * 6
WEIGHTS = np.array([0.05, -0.03, 0.02, 0.04, -0.01, 0.03])


def sample(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, LEVELS, (count, len(LEVELS)))


def error(model: Transferred | GaussianProcess, count: int) -> float:
    """Root mean squared, on unseen rows, after `count` results."""
    rows = sample(count, 0)
    unseen = sample(200, 1)
    model.fit(rows, np.zeros(count), 0.3 + 2 * rows @ WEIGHTS, 15)
    return float(np.sqrt(np.mean((model.predict(unseen, np.zeros(200))[0] - 0.3 - 2 * unseen @ WEIGHTS) ** 2)))


def transferred(weights: np.ndarray) -> Transferred:
    return Transferred(GaussianProcess(GeneEncoder.of(LEVELS, [True] * len(LEVELS))), lambda rows: 0.5 + rows @ weights)


def test_a_study_that_ranks_alike_makes_few_results_enough() -> None:
    alone = GaussianProcess(GeneEncoder.of(LEVELS, [True] * len(LEVELS)))
    assert error(transferred(WEIGHTS), 6) < 0.5 * error(alone, 6)


def test_a_study_that_ranks_the_other_way_is_not_believed_for_long() -> None:
    assert error(transferred(-WEIGHTS), 60) < 0.02


def test_one_value_in_the_earlier_study_changes_nothing() -> None:
    alone = GaussianProcess(GeneEncoder.of(LEVELS, [True] * len(LEVELS)))
    assert error(transferred(0 * WEIGHTS), 20) == pytest.approx(error(alone, 20), rel=1e-3)


def test_failures_say_nothing_of_the_earlier_study() -> None:
    """Large networks that do not fit in memory count loosely as the worst result, whatever the earlier study thought of
    them."""
    rows = np.vstack([sample(20, 0), np.full((4, len(LEVELS)), 3)])
    target = 0.3 + 2 * rows @ WEIGHTS
    target[20:] = target[:20].min()
    model = transferred(2 * WEIGHTS)
    unseen = sample(200, 1)
    model.fit(rows, np.zeros(24), target, 15, np.concatenate([np.zeros(20), np.full(4, target.std())]))
    missed = model.predict(unseen, np.zeros(200))[0] - 0.3 - 2 * unseen @ WEIGHTS
    assert np.sqrt(np.mean(missed**2)) < 0.02
