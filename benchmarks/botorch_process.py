"""BoTorch's Gaussian process with its defaults, as a surrogate of our sampler; `benchmarks.surrogates` compares it.

BoTorch is not among our packages: `pip install botorch==0.18.1`.
"""

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import MixedSingleTaskGP, SingleTaskGP
from gpytorch.mlls import ExactMarginalLogLikelihood

from nas.surrogates.gaussian_process import GeneEncoder

LEARNED = ("mean_module", "covar_module", "likelihood")
"""What a later fit takes over where it keeps the hyperparameters; the scale of the target is that of its own rows."""


class BotorchProcess:
    """MixedSingleTaskGP, or SingleTaskGP where no gene is a category, over genes and the feature."""

    def __init__(self, encoder: GeneEncoder) -> None:
        """Begin with no knowledge of genes that are encoded so."""
        self._seen = encoder.seen
        sizes = np.array([len(table) for table in encoder.tables])
        # Two levels are alike with and without an order.
        is_ordered = encoder.offsets == 0.5
        self._categories = np.flatnonzero(~is_ordered).tolist()
        self._steps = np.where(is_ordered, 1 / np.maximum(sizes - 1, 1), 1.0)
        self._state: dict[str, torch.Tensor] = {}

    def fit(
        self,
        levels_ND: np.ndarray,
        feature_N: np.ndarray,
        target_N: np.ndarray,
        max_iterations: int,
        sd_N: np.ndarray | float = 0.0,
    ) -> None:
        """As that of our process; BoTorch decides how many iterations, and errors of single targets are ignored."""
        self._feature_range = float(feature_N.min()), float(np.ptp(feature_N)) or 1.0
        inputs = self._inputs(levels_ND, feature_N)
        targets = torch.tensor(target_N[:, None])
        if self._categories:
            self._model = MixedSingleTaskGP(inputs, targets, self._categories)
        else:
            self._model = SingleTaskGP(inputs, targets)
        if max_iterations:
            fit_gpytorch_mll(ExactMarginalLogLikelihood(self._model.likelihood, self._model))
            self._state = {name: kept for name, kept in self._model.state_dict().items() if name.startswith(LEARNED)}
        else:
            self._model.load_state_dict(self._state, strict=False)

    def predict(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the noise-free target, each (num_rows,)."""
        with torch.no_grad():
            posterior = self._model.posterior(self._inputs(levels_ND, feature_N))
            return posterior.mean[:, 0].numpy(), posterior.variance[:, 0].sqrt().numpy()

    def mean(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> np.ndarray:
        """The mean of `predict` alone."""
        with torch.no_grad():
            mean: np.ndarray = self._model.posterior(self._inputs(levels_ND, feature_N)).mean[:, 0].numpy()
        return mean

    def _inputs(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> torch.Tensor:
        """(num_rows, num_genes + 1): ordered genes and the feature in [0, 1], categories as their numbers."""
        low, width = self._feature_range
        return torch.tensor(np.column_stack([self._seen(levels_ND) * self._steps, (feature_N - low) / width]))
