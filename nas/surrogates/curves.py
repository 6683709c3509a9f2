"""What a stopped training would have reached, from trainings that went on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder, Refits
from nas.surrogates.genes import Row

MIN_PAIRS = 6
"""Trainings that passed a rung and were finished, from which on a score at that rung can be extrapolated."""
MIN_SHARE = 0.1
"""rho^2 below which a score is taken to tell no less: so few trainings do not tell it from nothing."""
LATEST = 400
"""Finished trainings that are looked at."""
LATEST_COURSES = 48
"""Trainings from which it is told how far those of some cost get."""
SAME = 1e-9
"""Scores that differ by less are equal: they are shares of at most millions of images."""
SIMILAR = 0.3
"""Standard deviation of the kernel that weighs them by ln cost."""


class Curve(NamedTuple):
    """One training."""

    row: Row
    """The architecture."""
    log_cost: float
    """ln of the architecture's cost."""
    scores: Sequence[float]
    """At each rung that was reached, at least one."""


def finished_per_training(log_cost_N: np.ndarray, trainings: Sequence[Curve]) -> np.ndarray:
    """How many trainings of this cost are finished for the steps of one whole training, as far as the latest tell.

    A rung stops more of some costs than of others: early scores differ less between small and large networks than those
    at the end. What is expected of a candidate is worth the less the more of its like are stopped, and the more the
    sooner they are.

    Args:
        log_cost_N: (num_candidates,).
        trainings: finished, at least one, and stopped, in the order of their trials; each rung is half-way to the next.

    Returns:
        (num_candidates,) in (0, 1]; the share that is finished over the mean share of the steps that are taken, both
        weighted by similarity of cost.
    """
    num_rungs = max(len(curve.scores) for curve in trainings)
    log_costs = np.array([curve.log_cost for curve in trainings])
    reached = np.array([len(curve.scores) for curve in trainings])
    finished = (reached == num_rungs).astype(float)
    steps = 0.5 ** (num_rungs - reached)
    latest = slice(-LATEST_COURSES, None)
    alike = np.exp(-0.5 * ((log_cost_N[:, None] - log_costs[latest]) / SIMILAR) ** 2)
    # Two more that are like the average of all: where few are alike nothing is special, and where none was finished
    # lately all count.
    per_training: np.ndarray = (alike @ finished[latest] + 2 * finished.mean()) / (
        alike @ steps[latest] + 2 * steps.mean()
    )
    return per_training


class Extrapolator:
    """Says where stopped trainings would have ended; holds a surrogate of the finished ones between calls."""

    def __init__(self, encoder: GeneEncoder) -> None:
        self._surrogate = GaussianProcess(encoder)
        self._refits = Refits()

    def __call__(self, finished: Sequence[Curve], stopped: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
        """Value and standard deviation of an observation of the end of each stopped training, as `extrapolate` gives
        them.

        Args:
            finished: trainings that were scored at each rung, in the order of their trials.
            stopped: trainings that were not.
        """
        num_finished = len(finished)
        finished = finished[-LATEST:]
        if num_finished < MIN_PAIRS or not stopped:
            return extrapolate(finished, np.zeros(len(finished)), stopped, np.zeros(len(stopped)))
        last = np.array([curve.scores[-1] for curve in finished])
        self._surrogate.fit(*_rows_and_log_costs(finished), last, self._refits.iterations(num_finished))
        return extrapolate(
            finished, self._surrogate.leave_one_out(), stopped, self._surrogate.mean(*_rows_and_log_costs(stopped))
        )


def _rows_and_log_costs(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([curve.row for curve in curves]), np.array([curve.log_cost for curve in curves])


def extrapolate(
    finished: Sequence[Curve],
    finished_predicted_N: np.ndarray,
    stopped: Sequence[Curve],
    stopped_predicted_N: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """What the last score of each stopped training tells of the one it would have ended with, beside what a surrogate
    predicts of that.

    How a score at a rung differs from what prediction and ln cost let expect tells how the end differs from the
    prediction: the slope is that of the finished trainings. What went on was chosen for its score, but the slope of the
    end over the score does not depend on that. A direct fit of the end to the score would compare good architectures
    with bad ones, of which an early score tells much, and take chance among equally good ones for as much.

    With prior variance s^2 and correlation rho between the two differences the end is expected at prediction + slope *
    difference with variance s^2 (1 - rho^2). That is the prior updated by an observation at prediction + slope *
    difference / rho^2 with the variance s^2 (1 - rho^2) / rho^2, and the observation is what a surrogate with a prior
    of its own must be given. The slope has an error too, which counts the more the farther a score is from those of the
    finished trainings.

    Args:
        finished: trainings that were scored at each rung.
        finished_predicted_N: (num_finished,) last score of each as predicted from all the others.
        stopped: trainings that were not.
        stopped_predicted_N: (num_stopped,).

    Returns:
        Value and standard deviation of each observation, each (num_stopped,); NaN where fewer than MIN_PAIRS finished
        trainings tell.

    Source: linear regression with a truncated regressor and the update of a normal prior, Gelman et al., "Bayesian Data
    Analysis", 3rd ed. 2013, sections 2.5 and 8.1.
    """
    num_rungs = max((len(curve.scores) for curve in finished), default=0)
    whole = [index for index, curve in enumerate(finished) if len(curve.scores) == num_rungs]
    value, sd = np.full((2, len(stopped)), np.nan)
    if len(whole) < MIN_PAIRS:
        return value, sd
    known = [finished[index] for index in whole]
    surprise = np.array([curve.scores[-1] for curve in known]) - finished_predicted_N[whole]
    last_rungs = np.array([len(curve.scores) - 1 for curve in stopped], dtype=int)
    for rung in set(last_rungs.tolist()):
        reached = np.flatnonzero(last_rungs >= rung)
        curves = [*known, *(stopped[index] for index in reached.tolist())]
        predicted = np.concatenate([finished_predicted_N[whole], stopped_predicted_N[reached]])
        difference = _residuals(
            np.array([curve.scores[rung] for curve in curves]), [[curve.log_cost for curve in curves], predicted]
        )
        ends = last_rungs[reached] == rung
        of_finished = difference[: len(known)]
        of_stopped = difference[len(known) :][ends]
        slope, offset = np.polyfit(of_finished, surprise, 1) if np.ptp(of_finished) > SAME else (0.0, 0.0)
        if slope <= 0:  # a better score is no bad sign; with few trainings a fit might say so
            slope = 0.0
            offset = surprise.mean()
        residual = surprise - offset - slope * of_finished
        variance = float(residual @ residual) / (len(known) - 2)
        explained = slope**2 * float(difference.var())
        share = max(explained / (explained + variance), MIN_SHARE) if explained + variance else 1.0
        slope_variance = variance / (len(known) * of_finished.var()) if slope else 0.0
        value[reached[ends]] = stopped_predicted_N[reached[ends]] + offset + slope * of_stopped / share
        sd[reached[ends]] = np.sqrt(
            variance / share + slope_variance * (of_stopped - of_finished.mean()) ** 2 / share**2
        )
    return value, sd


def _residuals(target_N: np.ndarray, columns: Sequence[Sequence[float] | np.ndarray]) -> np.ndarray:
    """What a linear fit leaves."""
    inputs = np.column_stack([np.ones(len(target_N)), *columns])
    residuals: np.ndarray = target_N - inputs @ np.linalg.lstsq(inputs, target_N, rcond=None)[0]
    return residuals
