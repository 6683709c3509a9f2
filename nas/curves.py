"""What a stopped training would have reached, from trainings that went on."""

from collections.abc import Sequence

import numpy as np

MIN_PAIRS = 5
"""Trainings that passed a rung and were finished, from which on a score at that rung can be extrapolated."""

ROUNDING = 1e-12
"""A sum of squares within this is zero: all scores are equal."""


def extrapolate(finished: Sequence[Sequence[float]], stopped: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Predict the last score of stopped trainings by a straight line through the finished ones' scores at the same rung.

    What went on was chosen for its score, so the line is used below the scores it was fitted to, and its uncertainty grows on the way.

    Args:
        finished: curves, each with one score per rung.
        stopped: the beginnings of other curves, each with at least one score.

    Returns:
        Mean and standard deviation of the last score, each (num_stopped,); NaN where fewer than MIN_PAIRS finished trainings tell.

    Source: prediction from simple linear regression, Draper & Smith, "Applied Regression Analysis", 3rd ed. 1998, section 1.4.
    """
    num_rungs = max(map(len, finished), default=0)
    curves = np.array([curve for curve in finished if len(curve) == num_rungs], dtype=float)
    if len(curves) < MIN_PAIRS:
        unknown = np.full(len(stopped), np.nan)
        return unknown, unknown
    return _vectors([_predict(curves[:, len(curve) - 1], curves[:, -1], curve[-1]) for curve in stopped])


def _predict(at_rung: np.ndarray, last: np.ndarray, score: float) -> tuple[float, float]:
    centre, spread = at_rung.mean(), float(((at_rung - at_rung.mean()) ** 2).sum())
    slope = float((at_rung - centre) @ last / spread) if spread > ROUNDING else 0.0
    # A later score does not fall as the earlier one rises; with few trainings the line might.
    slope = max(slope, 0.0)
    mean = last.mean() + slope * (score - centre)
    residuals = last - last.mean() - slope * (at_rung - centre)
    variance = float(residuals @ residuals) / (len(last) - 2)
    leverage = 1 + 1 / len(last) + ((score - centre) ** 2 / spread if spread > ROUNDING else 0.0)
    return float(mean), float(np.sqrt(variance * leverage))


def _vectors(pairs: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    means, sds = np.array(pairs, dtype=float).reshape(-1, 2).T
    return means, sds
