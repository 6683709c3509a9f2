"""When a score is trusted, and what it does to a surrogate."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder, Surrogate
from nas.surrogates.scores import Fidelity, Guarded, worth_of

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


def sample(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, NUM_LEVELS, (count, len(NUM_LEVELS)))


def top1(rows: np.ndarray) -> np.ndarray:
    """Pairs of genes count too, so that a few results do not tell all."""
    return np.asarray(0.3 + rows @ WEIGHTS + 0.02 * rows[:, 0] * rows[:, 3] - 0.02 * rows[:, 1] * rows[:, 5])


def fitted(rows: np.ndarray, *scores: Given, sd: np.ndarray | float = 0.0, worst: int = 0) -> Guarded:
    """The last `worst` rows count loosely as the worst result."""
    guarded = Guarded(NUM_LEVELS, ORDERED, scores)
    guarded.set_levels(sample(300, 9))
    trained = len(rows) - worst
    target = top1(rows)
    target[trained:] = target[:trained].min()
    guarded.fit(rows, np.zeros(len(rows)), target, 15, sd)
    return guarded


def without(rows: np.ndarray, sd: np.ndarray | float = 0.0, worst: int = 0) -> GaussianProcess:
    """The process alone, on the same data."""
    process = GaussianProcess(GeneEncoder.of(NUM_LEVELS, ORDERED))
    target = top1(rows)
    target[len(rows) - worst :] = target[: len(rows) - worst].min()
    process.fit(rows, np.zeros(len(rows)), target, 15, sd)
    return process


def error(surrogate: Surrogate) -> float:
    """Root mean squared, on unseen rows."""
    unseen = sample(300, 1)
    return float(np.sqrt(np.mean((surrogate.predict(unseen, np.zeros(300))[0] - top1(unseen)) ** 2)))


def with_correlation(r: float, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Two columns whose Pearson correlation is exactly r."""
    drawn = np.random.default_rng(0).normal(size=(num, 2))
    first, second = np.linalg.qr(drawn - drawn.mean(axis=0))[0].T
    return first, r * first + np.sqrt(1 - r * r) * second


def test_the_worth_of_a_score_is_its_correlation_with_an_interval() -> None:
    worth = worth_of(*with_correlation(0.76, 30))
    assert worth is not None
    interval = stats.pearsonr(*with_correlation(0.76, 30)).confidence_interval(0.9)
    assert (worth.r, worth.low, worth.high) == pytest.approx((0.76, interval.low, interval.high))


def test_few_trainings_and_constant_scores_are_not_judged() -> None:
    assert worth_of(*with_correlation(0.99, 9)) is None
    assert worth_of(np.ones(20), np.arange(20.0)) is None
    known = np.where(np.arange(20) < 9, np.arange(20.0), np.nan)
    assert worth_of(known, np.arange(20.0)) is None
    assert fitted(sample(9, 0), Given(top1)).trusted is None
    assert fitted(sample(20, 0), Given(lambda rows: np.ones(len(rows)))).trusted is None


def test_a_trusted_score_makes_few_results_enough_whatever_its_unit() -> None:
    rows = sample(12, 0)
    for scale in (1.0, 1e3, 1e-8, -1e-8):
        informed = fitted(rows, Given(lambda found, scale=scale: scale * top1(found) + 7))
        assert informed.trusted == 0
        assert error(informed) < 0.1 * error(without(rows))


@pytest.mark.parametrize("num", [12, 20, 40])
def test_noise_is_not_used(num: int) -> None:
    for seed in range(8):
        rows = sample(num, seed)
        informed = fitted(rows, Given(lambda found: np.sin(1e4 * (found @ np.arange(1, 7)))))
        assert informed.trusted is None
        assert error(informed) == pytest.approx(error(without(rows)))


def test_a_reversed_order_tells_as_much() -> None:
    rows = sample(12, 0)
    informed = fitted(rows, Given(lambda found: -top1(found)))
    assert informed.trusted == 0
    assert error(informed) < 0.25 * error(without(rows))


def test_a_score_that_correlates_and_misleads_among_the_good_ones_is_not_trusted() -> None:
    """It orders the best quarter the other way round; many trainings know better than its line."""
    rows = sample(80, 0)
    good = float(np.quantile(top1(rows), 0.75))
    misleading = Given(lambda found: np.minimum(top1(found), good - 0.3 * (top1(found) - good)))
    worth = worth_of(misleading(rows), top1(rows))
    assert worth is not None
    assert worth.r > 0.8
    informed = fitted(rows, misleading)
    assert informed.trusted is None
    assert error(informed) < 1.2 * error(without(rows))


def test_a_score_is_trusted_no_more_once_the_trainings_tell_more() -> None:
    """It knows main effects alone; many trainings show what pairs of genes do."""
    guarded = Guarded(NUM_LEVELS, ORDERED, [Given(lambda found: found @ WEIGHTS + 0.02 * np.sin(1e4 * found.sum(1)))])
    guarded.set_levels(sample(300, 9))
    trusted = []
    for num in (12, 150):
        rows = sample(num, 0)
        guarded.fit(rows, np.zeros(num), top1(rows), 15)
        trusted.append(guarded.trusted)
    assert trusted == [0, None]


def test_of_several_trusted_scores_the_best_is_the_prior_mean() -> None:
    weak = Given(lambda rows: top1(rows) + 0.02 * np.sin(1e4 * (rows @ np.arange(1, 7))))
    assert fitted(sample(40, 0), weak, Given(top1), weak).trusted == 1


def test_of_what_is_not_known_the_genes_tell() -> None:
    """Half of the score is missing, and it is additive in the genes."""
    rows = sample(24, 0)
    additive = fitted(rows, Given(lambda found: found @ WEIGHTS))
    half = fitted(rows, Given(lambda found: np.where(found[:, 0] > found[:, 1], found @ WEIGHTS, np.nan)))
    assert error(half) == pytest.approx(error(additive), rel=0.1)
    nothing = fitted(rows, Given(lambda found: np.full(len(found), np.nan)))
    assert nothing.trusted is None
    assert error(nothing) == pytest.approx(error(without(rows)), rel=0.1)


def test_the_noise_of_a_score_is_told_from_what_genes_explain_of_it() -> None:
    """With one slope for both parts, noise of the size of top1's own spread is worse than no score."""
    for seed in range(4):
        rows = sample(16, seed)
        noisy = fitted(rows, Given(lambda found: top1(found) + 0.15 * np.sin(1e4 * (found @ np.arange(1, 7)))))
        assert noisy.trusted == 0
        assert error(noisy) < 0.8 * error(without(rows))


def test_failures_say_nothing_of_a_score() -> None:
    """Large networks that do not fit in memory count loosely as the worst result, whatever the score thought of
    them."""
    rows = np.vstack([sample(20, 0), np.full((4, 6), 3)])
    sd = np.concatenate([np.zeros(20), np.full(4, top1(rows).std())])
    informed = fitted(rows, Given(top1), sd=sd, worst=4)
    assert informed.trusted == 0
    assert error(informed) < 0.4 * error(without(rows, sd=sd, worst=4))
