"""The surrogate of nas/surrogate.py over genes alone, as `explain` needs it."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from nas.records import Gene
from nas.surrogate import GaussianProcess, GeneEncoder

ITERATIONS = 60
"""Of the fit of the hyperparameters."""
CHUNK = 4096
"""Rows that are predicted at once."""


class GeneModel:
    """Predicts one target from rows of levels."""

    def __init__(self, genes: Sequence[Gene]) -> None:
        self._encoder = GeneEncoder.of([len(gene.values) for gene in genes], [gene.ordered for gene in genes])

    def fit(self, rows: np.ndarray, target: np.ndarray) -> Self:
        """Learn from N >= 2 rows of levels, (num_rows, num_genes) int, and as many finite numbers."""
        self._rows = rows
        self._process = GaussianProcess(self._encoder)
        self._process.fit(rows, np.zeros(len(rows)), target, ITERATIONS)
        return self

    def predict(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation without noise, each (num_rows,), in the unit of the target."""
        return _predict(self._process, rows)

    def differences(self, origin: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Target at each row minus target at the row `origin`, one of those that were learned: mean and standard deviation.

        One more observation at the origin moves the mean of x by cov(x, origin) times something that is the same for all x, so the ratio
        of two movements is that of two covariances. They do not depend on the observed values; here those are 1 at the origin and 0
        elsewhere, and the additional one is their mean, which leaves the process's standardisation as it is.

        Source: Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, equations 2.25 and 2.26.
        """
        every = np.vstack([origin, rows])
        mean, sd = self.predict(every)
        observed = (self._rows == origin).all(axis=1).astype(float)
        before = _predict(self._with(self._rows, observed), every)[0]
        after = _predict(self._with(np.vstack([self._rows, origin]), np.append(observed, observed.mean())), every)[0]
        covariance = sd[0] ** 2 * (after - before) / (after[0] - before[0])
        variance = sd**2 + sd[0] ** 2 - 2 * covariance
        return (mean - mean[0])[1:], np.sqrt(np.maximum(variance, 0))[1:]

    def _with(self, rows: np.ndarray, target: np.ndarray) -> GaussianProcess:
        """The same process after other observations."""
        process = GaussianProcess(self._encoder)
        process.theta = self._process.theta
        process.fit(rows, np.zeros(len(rows)), target, 0)
        return process


def _predict(process: GaussianProcess, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = [
        process.predict(rows[start : start + CHUNK], np.zeros(len(rows[start : start + CHUNK]))) for start in range(0, len(rows), CHUNK)
    ]
    return np.concatenate([mean for mean, _ in parts]), np.concatenate([sd for _, sd in parts])
