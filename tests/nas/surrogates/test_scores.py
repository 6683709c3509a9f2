"""When a score is trusted, and what it does to a surrogate."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder
from nas.surrogates.scores import LEVELS, Fidelity, Guarded, worth_of

NUM_LEVELS = [4] * 6
ORDERED = [True] * 6
WEIGHTS = np.array([0.05, -0.03, 0.02, 0.04, -0.01, 0.03])


@dataclass(frozen=True)
class Given:
    """A score by a formula."""

    formula: Callable[[np.ndarray], np.ndarray]
    label: str = "given"
    fidelity: Fidelity = "none"

    def __call__(self, rows_ND: np.ndarray) -> np.ndarray:
        return self.formula(rows_ND)


class Watched(GaussianProcess):
    """Keeps the last rows and targets."""

    def fit(
        self,
        levels_ND: np.ndarray,
        feature_N: np.ndarray,
        target_N: np.ndarray,
        max_iterations: int,
        sd_N: np.ndarray | float = 0.0,
    ) -> None:
        self.learned = levels_ND, target_N
        super().fit(levels_ND, feature_N, target_N, max_iterations, sd_N)


def sample(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, NUM_LEVELS, (count, len(NUM_LEVELS)))


def top1(rows: np.ndarray) -> np.ndarray:
    """Pairs of genes count too, so that a few results do not tell all."""
    return np.asarray(0.3 + rows @ WEIGHTS + 0.02 * rows[:, 0] * rows[:, 3] - 0.02 * rows[:, 1] * rows[:, 5])


def fitted(rows: np.ndarray, *scores: Given, sd: np.ndarray | float = 0.0, worst: int = 0) -> tuple[Guarded, Watched]:
    """Guarded surrogate and what is inside it; the last `worst` rows count loosely as the worst result."""
    watched: list[Watched] = []

    def make(encoder: GeneEncoder) -> Watched:
        watched.append(Watched(encoder))
        return watched[0]

    guarded = Guarded(make, NUM_LEVELS, ORDERED, scores)
    guarded.set_levels(sample(300, 9))
    trained = len(rows) - worst
    target = top1(rows)
    target[trained:] = target[:trained].min()
    guarded.judge(rows[:trained], target[:trained])
    guarded.fit(rows, np.zeros(len(rows)), target, 15, sd)
    return guarded, watched[0]


def error(guarded: Guarded) -> float:
    """Root mean squared, on unseen rows."""
    unseen = sample(300, 1)
    return float(np.sqrt(np.mean((guarded.predict(unseen, np.zeros(300))[0] - top1(unseen)) ** 2)))


def with_correlation(r: float, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Two columns whose Pearson correlation is exactly r."""
    drawn = np.random.default_rng(0).normal(size=(num, 2))
    first, second = np.linalg.qr(drawn - drawn.mean(axis=0))[0].T
    return first, r * first + np.sqrt(1 - r * r) * second


@pytest.mark.parametrize(
    ("r", "num", "trusted"), [(0.85, 10, False), (0.9, 10, True), (0.76, 30, False), (0.76, 60, True)]
)
def test_a_score_is_trusted_by_its_correlation_and_the_interval(r: float, num: int, trusted: bool) -> None:
    worth = worth_of(*with_correlation(r, num))
    assert worth is not None
    interval = stats.pearsonr(*with_correlation(r, num)).confidence_interval(0.9)
    assert (worth.r, worth.low, worth.high) == pytest.approx((r, interval.low, interval.high))
    assert worth.is_trusted is trusted


def test_few_trainings_and_constant_scores_are_not_judged() -> None:
    assert worth_of(*with_correlation(0.99, 9)) is None
    assert worth_of(np.ones(20), np.arange(20.0)) is None
    known = np.where(np.arange(20) < 9, np.arange(20.0), np.nan)
    assert worth_of(known, np.arange(20.0)) is None


def test_a_trusted_score_makes_few_results_enough_whatever_its_unit() -> None:
    rows = sample(12, 0)
    alone, _ = fitted(rows)
    for scale in (1.0, -5.0 + 1e3, 1e-3):
        informed, _ = fitted(rows, Given(lambda found, scale=scale: scale * top1(found) + 7))
        assert informed.trusted == 0
        assert error(informed) < 0.1 * error(alone)


def test_a_score_that_is_not_trusted_is_a_gene_and_nothing_else() -> None:
    """A reversed order is never a prior mean; as a gene it still tells."""
    rows = sample(12, 0)
    informed, process = fitted(rows, Given(lambda found: -top1(found)))
    assert informed.trusted is None
    extended, target = process.learned
    assert np.array_equal(target, top1(rows))
    assert np.array_equal(extended[:, :6], rows)
    order = np.argsort(target)
    assert (np.diff(extended[order, 6]) <= 0).all()
    assert 0 <= extended[:, 6].min() < extended[:, 6].max() < LEVELS
    assert error(informed) < 0.8 * error(fitted(rows)[0])


def test_of_several_trusted_scores_the_surest_is_the_prior_mean() -> None:
    weak = Given(lambda rows: top1(rows) + 0.02 * np.sin(1e4 * (rows @ np.arange(1, 7))))
    informed, process = fitted(sample(40, 0), weak, Given(top1), weak)
    assert informed.trusted == 1
    assert process.learned[0].shape == (40, 9)


def test_what_is_not_known_counts_as_the_median() -> None:
    rows = sample(40, 0)
    half = Given(lambda found: np.where(found[:, 0] > 1, top1(found), np.nan))
    informed, process = fitted(rows, half)
    assert np.isfinite(informed.predict(rows, np.zeros(40))[0]).all()
    assert set(process.learned[0][rows[:, 0] <= 1, 6]) == {LEVELS // 2}
    nothing, _ = fitted(rows, Given(lambda found: np.full(len(found), np.nan)))
    assert nothing.trusted is None
    assert error(nothing) == pytest.approx(error(fitted(rows)[0]), rel=0.1)


def test_failures_say_nothing_of_a_score() -> None:
    """Large networks that do not fit in memory count loosely as the worst result, whatever the score thought of
    them."""
    rows = np.vstack([sample(20, 0), np.full((4, 6), 3)])
    sd = np.concatenate([np.zeros(20), np.full(4, top1(rows).std())])
    informed, _ = fitted(rows, Given(top1), sd=sd, worst=4)
    assert informed.trusted == 0
    assert error(informed) < 0.4 * error(fitted(rows, sd=sd, worst=4)[0])
