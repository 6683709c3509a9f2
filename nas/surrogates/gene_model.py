"""The surrogate of nas/surrogates/gaussian_process.py over genes alone, as `explain` needs it."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from nas.protocols import Traits
from nas.records import Gene
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder
from nas.surrogates.genes import GeneLevels

ITERATIONS = 60
"""Largest number of steps of the fit of the hyperparameters."""


class GeneModel:
    """Predicts one target from rows of levels. Rows of the same architecture are one row to it."""

    def __init__(self, genes: Sequence[Gene], traits: Traits | None, pairs_only: bool = False) -> None:
        """`traits` are those of the space of the genes, `pairs_only` is as that of the process."""
        self._canonical = GeneLevels(genes).canonical
        self._encoder = GeneEncoder.of_genes(genes, traits)
        self._pairs_only = pairs_only

    def fit(self, rows: np.ndarray, target: np.ndarray) -> Self:
        """Learn from N >= 2 rows of levels, (num_rows, num_genes) int, and as many finite numbers."""
        self._process = GaussianProcess(self._encoder, self._pairs_only)
        self._process.fit(self._canonical(rows), np.zeros(len(rows)), target, ITERATIONS)
        return self

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """(num_rows,) expected value, in the unit of the target."""
        return self._process.mean(self._canonical(rows), np.zeros(len(rows)))

    def differences(self, origin: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Target at each row minus target at the row `origin`: mean and standard deviation without noise."""
        every = self._canonical(np.vstack([origin, rows]))
        mean = self.mean(every)
        covariance = self._process.covariance(every, np.zeros(len(every)))
        variance = np.diag(covariance) + covariance[0, 0] - 2 * covariance[0]
        return (mean - mean[0])[1:], np.sqrt(np.maximum(variance, 0))[1:]
