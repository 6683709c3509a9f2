"""What a stopped training would have reached, from trainings that went on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MIN_PAIRS = 6
"""Trainings that passed a rung and were finished, from which on a score at that rung can be extrapolated."""


class Curve(NamedTuple):
    """One training."""

    scores: Sequence[float]
    """At each rung that was reached, at least one."""
    log_cost: float
    """Of the architecture."""


def extrapolate(finished: Sequence[Curve], stopped: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Predict the last score of stopped trainings by a linear fit of the finished ones' to the score at the same rung and ln cost.

    Without the cost, a small network whose score is still near to chance would be expected to end like the average one, and a search would
    propose the like of it for ever. What went on was chosen for its score, so the fit is used below the scores that it was made from, and
    its uncertainty grows on the way.

    Args:
        finished: trainings that were scored at each rung.
        stopped: trainings that were not.

    Returns:
        Mean and standard deviation of the last score, each (num_stopped,); NaN where fewer than MIN_PAIRS finished trainings tell.

    Source: prediction from linear regression, Draper & Smith, "Applied Regression Analysis", 3rd ed. 1998, section 5.1.
    """
    num_rungs = max((len(curve.scores) for curve in finished), default=0)
    whole = [curve for curve in finished if len(curve.scores) == num_rungs]
    if len(whole) < MIN_PAIRS:
        unknown = np.full(len(stopped), np.nan)
        return unknown, unknown
    scores, log_cost = np.array([curve.scores for curve in whole], dtype=float), np.array([curve.log_cost for curve in whole])
    predicted = [
        _predict(np.column_stack([scores[:, len(curve.scores) - 1], log_cost]), scores[:, -1], np.array([curve.scores[-1], curve.log_cost]))
        for curve in stopped
    ]
    means, sds = np.array(predicted, dtype=float).reshape(-1, 2).T
    return means, sds


def _predict(known_N2: np.ndarray, last_N: np.ndarray, point_2: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation at `point`; columns are score and ln cost."""
    centred, target, offset = known_N2 - known_N2.mean(axis=0), last_N - last_N.mean(), point_2 - known_N2.mean(axis=0)
    # The pseudo-inverse leaves out what does not vary.
    inverse = np.linalg.pinv(centred)
    slopes = inverse @ target
    if slopes[0] < 0:
        # A later score does not fall as the earlier one rises; with few trainings the fit might.
        return _predict(known_N2 * [0, 1], last_N, point_2 * [0, 1])
    residuals = target - centred @ slopes
    variance = float(residuals @ residuals) / (len(last_N) - 1 - np.linalg.matrix_rank(centred))
    leverage = 1 + 1 / len(last_N) + float(np.square(offset @ inverse).sum())
    return float(last_N.mean() + offset @ slopes), float(np.sqrt(variance * leverage))
