"""A surrogate that begins with what an earlier study says."""

from collections.abc import Callable

import numpy as np

from nas.surrogates.gaussian_process import Surrogate


class Transferred:
    """A surrogate of what differs from an earlier study: target = offset + slope * (the earlier study's prediction) +
    the surrogate's.

    Offset and slope are a least-squares fit to what has no error of its own, in which the earlier study counts as one
    more result, one that says that the slope is 1. So few results take its word, and many that disagree are believed.

    Source: stacked residuals, Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, section
    3.3.
    """

    def __init__(self, surrogate: Surrogate, earlier: Callable[[np.ndarray], np.ndarray]) -> None:
        """Take over an unfitted surrogate.

        Args:
            earlier: rows (num_rows, num_genes) -> expected target (num_rows,) by the earlier study.
        """
        self._surrogate = surrogate
        self._earlier = earlier

    def fit(
        self,
        levels_ND: np.ndarray,
        feature_N: np.ndarray,
        target_N: np.ndarray,
        max_iterations: int,
        sd_N: np.ndarray | float = 0.0,
    ) -> None:
        """As the surrogate's."""
        expected = self._earlier(levels_ND)
        # A failure that counts as the worst result says nothing of the earlier study.
        exact = np.broadcast_to(sd_N, target_N.shape) == 0
        theirs = expected[exact]
        ours = target_N[exact]
        centred = theirs - theirs.mean()
        one_result = max(float(centred @ centred) / len(centred), 1e-12)
        self._slope = (float(centred @ (ours - ours.mean())) + one_result) / (float(centred @ centred) + one_result)
        self._offset = ours.mean() - self._slope * theirs.mean()
        self._surrogate.fit(
            levels_ND, feature_N, target_N - self._offset - self._slope * expected, max_iterations, sd_N
        )

    def predict(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As the surrogate's."""
        mean, sd = self._surrogate.predict(levels_ND, feature_N)
        return mean + self._offset + self._slope * self._earlier(levels_ND), sd
