"""How well a surrogate predicts what it has not seen, and how well one number ranks things by another."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

FOLDS = 5
RESAMPLES = 10_000
LEVEL_PERCENT = 95.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """Kendall's tau-b of a predictor and what it is to predict, with the 95 % interval over what was measured."""

    tau: float
    """In [-1, 1]: 1 for the same order, 0 for none in common, -1 for the reverse."""
    low: float
    high: float
    num: int
    """Things that were ranked."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a surrogate predicts trials that it has not seen, over all folds together."""

    target: str
    trials: int
    r2: float | None
    """1 - squared error / variance; None for a constant target."""
    rank_correlation: float | None
    """Spearman's; None when target or predictions are constant."""


def held_out(num: int, predict: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Predict each of `num` things from those of the other folds; the folds are random, the same for equal numbers.

    Args:
        num: at least FOLDS.
        predict: (indices to learn from, indices to predict) -> a prediction for each of the latter.

    Returns:
        (num,) float64.
    """
    predicted = np.empty(num)
    for fold in np.array_split(np.random.default_rng(0).permutation(num), FOLDS):
        rest = np.setdiff1d(np.arange(num), fold)
        predicted[fold] = predict(rest, fold)
    return predicted


def quality_of(name: str, predicted_N: np.ndarray, target_N: np.ndarray) -> Quality:
    """R2 and rank correlation of held-out predictions.

    Args:
        name: of the target.
        predicted_N: (num_trials,) what `held_out` gave.
        target_N: (num_trials,) finite.
    """
    num = len(target_N)
    if np.ptp(target_N) == 0:
        return Quality(name, num, None, None)
    r2 = 1 - ((predicted_N - target_N) ** 2).sum() / ((target_N - target_N.mean()) ** 2).sum()
    rank = None if np.ptp(predicted_N) == 0 else float(scipy.stats.spearmanr(predicted_N, target_N).statistic)
    return Quality(name, num, float(r2), rank)


def agreement(predictors_NP: np.ndarray, target_N: np.ndarray) -> Agreement | None:
    """Kendall's tau-b, averaged over the predictors, and its percentile bootstrap interval over the rows.

    A row that a resample has twice is tied with itself, which tau-b leaves out. Resamples in which everything is tied
    have no tau and are left out too. The same numbers give the same interval.

    Args:
        predictors_NP: (num, num_predictors) finite; a vector (num,) is one predictor.
        target_N: (num,) finite.

    Returns:
        None where tau is undefined: fewer than two rows, or a predictor or the target has one value only.

    Source: Kendall, "The Treatment of Ties in Ranking Problems", Biometrika 33, 1945; percentile interval, Efron &
    Tibshirani, "An Introduction to the Bootstrap", 1993.
    """
    num = len(target_N)
    columns = predictors_NP.reshape(num, -1).T
    if num < 2 or np.ptp(target_N) == 0 or not np.ptp(columns, axis=1).all():
        return None
    rng = np.random.default_rng(0)
    counts_RN = rng.multinomial(num, np.full(num, 1 / num), size=RESAMPLES).astype(float)
    once_RN = np.ones((1, num))
    target = _signs(target_N)
    tau = np.mean([_tau(once_RN, _signs(column), target) for column in columns])
    resampled = np.mean([_tau(counts_RN, _signs(column), target) for column in columns], axis=0)
    tail = (100 - LEVEL_PERCENT) / 2
    low, high = np.nanpercentile(resampled, [tail, 100 - tail])
    return Agreement(float(tau), float(low), float(high), num)


def _signs(values_N: np.ndarray) -> np.ndarray:
    """(num, num): 1 where the row's value is larger than the column's, -1 where it is smaller, 0 where they are
    tied."""
    signs: np.ndarray = np.sign(values_N[:, None] - values_N[None, :])
    return signs


def _tau(counts_RN: np.ndarray, first_NN: np.ndarray, second_NN: np.ndarray) -> np.ndarray:
    """tau-b of each resample (R,), which has row n counts[r, n] times; NaN where it is undefined."""
    concordant, untied_first, untied_second = (
        ((counts_RN @ pairs) * counts_RN).sum(axis=1)
        for pairs in (first_NN * second_NN, np.abs(first_NN), np.abs(second_NN))
    )
    with np.errstate(invalid="ignore"):
        tau: np.ndarray = concordant / np.sqrt(untied_first * untied_second)
    return tau
