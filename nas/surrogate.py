"""A Gaussian process over genes, small and fast: the surrogate of the `ehvi` sampler.

The kernel is a sum: a constant, one term per gene (main effects), a product over all genes and one over the genes of each part of the
network (interactions; those within a stage or block are the same wherever the rest stands), and a term over a cheap numeric feature such
as ln cost. Each gene's similarity S_g is 1 for equal values and falls to 0; it is an inner product of encoded
rows, so that every kernel matrix and every gradient is a matrix product. Hyperparameters maximise marginal likelihood times a log-normal
prior.

Source: Rasmussen & Williams, "Gaussian Processes for Machine Learning", MIT Press 2006, chapters 2 and 5. The prior means scale with
the number of genes, after Hvarfner, Hellsten & Nardi, "Vanilla Bayesian Optimization Performs Great in High Dimensions", ICML 2024.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import linalg, optimize

JITTER = 1e-8
"""Added to the diagonal in units of the standardised target's variance, against rounding."""
TAILS = 4.0
"""Hyperparameters stay within this many prior standard deviations."""
PARTS_VARIANCE = 2.0
"""Prior mean of the variance of all parts' products together. With less, the surrogate is too sure of itself (docs/search.md)."""


@dataclass(frozen=True, slots=True)
class GeneEncoder:
    """Rows of levels -> rows whose inner product, within the columns of gene g, is S_g."""

    tables: tuple[np.ndarray, ...]
    """Per gene: (num_levels, num_columns) float64."""
    parts: tuple[tuple[int, ...], ...] = ()
    """Positions of the genes of each part of the network that has at least two, but not all."""

    @classmethod
    def of(cls, num_levels: Sequence[int], ordered: Sequence[bool], parts: Sequence[str] = ()) -> "GeneEncoder":
        """One-hot columns where levels have no order (S = 1 when equal, else 0); else a thermometer (S = 1 - |i - j| / (levels - 1)).

        Args:
            num_levels: of each gene, at least 1.
            ordered: per gene, whether neighbouring levels are similar.
            parts: per gene, the name of its part; empty tells no parts apart.
        """
        tables = tuple(_thermometer(n) if is_ordered and n > 2 else np.eye(n) for n, is_ordered in zip(num_levels, ordered, strict=True))
        genes = [tuple(gene for gene, other in enumerate(parts) if other == part) for part in dict.fromkeys(parts)]
        return cls(tables, tuple(members for members in genes if 1 < len(members) < len(tables)))

    @property
    def starts(self) -> np.ndarray:
        """(num_genes,) int: first column of each gene."""
        return np.concatenate([[0], np.cumsum([table.shape[1] for table in self.tables])[:-1]])

    @property
    def gene_of_column(self) -> np.ndarray:
        """(num_columns,) int."""
        widths = [table.shape[1] for table in self.tables]
        return np.repeat(np.arange(len(widths)), widths)

    def encode(self, levels_ND: np.ndarray) -> np.ndarray:
        """(num_rows, num_genes) int -> (num_rows, num_columns) float64."""
        return np.hstack([table[levels_ND[:, gene]] for gene, table in enumerate(self.tables)])

    def settings(self, levels_ND: np.ndarray) -> list[np.ndarray]:
        """Per part (num_rows,) int: equal where all genes of the part are."""
        sizes = [len(table) for table in self.tables]
        return [np.ravel_multi_index(tuple(levels_ND[:, part].T), [sizes[gene] for gene in part]) for part in map(list, self.parts)]


def _thermometer(num_levels: int) -> np.ndarray:
    above = (np.arange(num_levels)[:, None] > np.arange(num_levels - 1)).astype(float)
    table: np.ndarray = np.hstack([above, 1 - above]) / np.sqrt(num_levels - 1)
    return table


@dataclass(frozen=True, slots=True)
class _Points:
    """Where the kernel is evaluated."""

    rows: np.ndarray
    """(num_points, num_columns) encoded."""
    settings: list[np.ndarray]
    """Of GeneEncoder.settings."""
    feature: np.ndarray
    """(num_points,) in its standard deviations."""


@dataclass(frozen=True, slots=True)
class _Factors:
    """A set of genes over which the kernel has a product."""

    columns: np.ndarray | slice
    """Of encoded rows."""
    gene: np.ndarray
    """(num_columns,) int: to which of the set's genes each column belongs."""
    starts: np.ndarray
    """(num_set_genes,) int: first of these columns of each gene."""


@dataclass(frozen=True, slots=True)
class _Hyper:
    """Hyperparameters, all positive; the target is standardised."""

    main: np.ndarray
    """(num_genes,) variance of each gene's own effect."""
    rates: Sequence[np.ndarray]
    """Per product (num_set_genes,): how fast it falls with 1 - S_g."""
    products: np.ndarray
    """(num_products,) variances."""
    feature: float
    length: float
    """Of the feature, in its standard deviations."""
    noise: float

    @property
    def variance(self) -> float:
        """Of the prior at any point, noise left out; the 1 is the constant's."""
        return 1 + float(self.main.sum()) + float(self.products.sum()) + self.feature


class Surrogate(Protocol):
    """Regression over rows and one numeric feature, with uncertainty; GaussianProcess says what the arguments are."""

    def fit(
        self, levels_ND: np.ndarray, feature_N: np.ndarray, target_N: np.ndarray, max_iterations: int, sd_N: np.ndarray | float = 0.0
    ) -> None: ...

    def predict(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


class GaussianProcess:
    """Regression of one finite target. Fit it, then predict; a refit begins at the last hyperparameters."""

    def __init__(self, encoder: GeneEncoder) -> None:
        self._encoder = encoder
        self._starts, self._gene = encoder.starts, encoder.gene_of_column
        genes, parts = len(encoder.tables), encoder.parts
        self._products = [_Factors(slice(None), self._gene, self._starts), *map(self._factors, parts)]
        ends = np.cumsum([genes, *(len(product.starts) for product in self._products), len(self._products)])
        self._blocks = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        """Of theta: main, the rates of each product, the variances of the products; three numbers follow."""
        self._prior_mean = np.log(np.concatenate([
            np.full(genes, 0.5 / genes), np.full(genes, 2 / genes), *(np.full(len(part), 2 / len(part)) for part in parts),
            [0.5, *(PARTS_VARIANCE / len(parts) for _ in parts)], [0.5, 1.0, 0.0067],
        ]))  # fmt: skip
        self._prior_sd = np.concatenate([
            np.full(genes, 2.5), np.full(genes, 2.0), np.ones(sum(map(len, parts))), [1.0, *(1.5 for _ in parts)], [1.0, 0.7, 1.5],
        ])  # fmt: skip
        self.theta = self._prior_mean.copy()
        """ln of the hyperparameters: main, rates of each product, variances of the products, feature, length, noise."""

    def _factors(self, genes: Sequence[int]) -> _Factors:
        columns = np.flatnonzero(np.isin(self._gene, genes))
        gene = np.searchsorted(genes, self._gene[columns])
        return _Factors(columns, gene, np.searchsorted(gene, np.arange(len(genes))))

    def _hyper(self, theta: np.ndarray) -> _Hyper:
        main, *rates, products = (np.exp(theta[block]) for block in self._blocks)
        return _Hyper(main, rates, products, *map(float, np.exp(theta[-3:])))

    def fit(
        self, levels_ND: np.ndarray, feature_N: np.ndarray, target_N: np.ndarray, max_iterations: int, sd_N: np.ndarray | float = 0.0
    ) -> None:
        """Learn from N >= 2 rows.

        Args:
            levels_ND: (num_rows, num_genes) int.
            feature_N: (num_rows,) numeric feature; zeros where there is none.
            target_N: (num_rows,) finite.
            max_iterations: of L-BFGS; 0 keeps the hyperparameters.
            sd_N: (num_rows,) known standard deviation of each target's own error, beside the noise that is learned.
        """
        self._feature_scale = feature_N.mean(), feature_N.std() or 1.0
        self._target_scale = target_N.mean(), target_N.std() or 1.0
        self._seen = self._points(levels_ND, feature_N)
        target = (target_N - self._target_scale[0]) / self._target_scale[1]
        self._error = np.broadcast_to((sd_N / self._target_scale[1]) ** 2, target.shape)
        if max_iterations:
            bounds = list(zip(self._prior_mean - TAILS * self._prior_sd, self._prior_mean + TAILS * self._prior_sd, strict=True))
            found = optimize.minimize(
                self.loss, self.theta, (target,), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": max_iterations}
            )
            self.theta = found.x
        kernel = self._kernel(self._hyper(self.theta), self._seen, self._seen)
        kernel[np.diag_indices_from(kernel)] += np.exp(self.theta[-1]) + self._error + JITTER
        self._factor = linalg.cholesky(kernel, lower=True, check_finite=False)
        self._weights = linalg.cho_solve((self._factor, True), target, check_finite=False)

    def predict(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the noise-free target, each (num_rows,), in its units."""
        hyper = self._hyper(self.theta)
        cross = self._kernel(hyper, self._points(levels_ND, feature_N), self._seen)
        half = linalg.solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        variance = np.maximum(hyper.variance - np.einsum("ij,ij->j", half, half), JITTER)
        mean, scale = self._target_scale
        return mean + scale * (cross @ self._weights), scale * np.sqrt(variance)

    def mean(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> np.ndarray:
        """The mean of `predict` alone, in a fraction of the time."""
        cross = self._kernel(self._hyper(self.theta), self._points(levels_ND, feature_N), self._seen)
        mean: np.ndarray = self._target_scale[0] + self._target_scale[1] * (cross @ self._weights)
        return mean

    def covariance(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> np.ndarray:
        """Of the noise-free target at the rows, (num_rows, num_rows), in its unit squared; its diagonal is the variance of `predict`."""
        hyper, points = self._hyper(self.theta), self._points(levels_ND, feature_N)
        cross = self._kernel(hyper, points, self._seen)
        half = linalg.solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        prior = self._kernel(hyper, points, points)
        covariance: np.ndarray = self._target_scale[1] ** 2 * (prior - half.T @ half)
        return covariance

    def _points(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> _Points:
        mean, scale = self._feature_scale
        return _Points(self._encoder.encode(levels_ND), self._encoder.settings(levels_ND), (feature_N - mean) / scale)

    def _kernel(self, hyper: _Hyper, ours: _Points, theirs: _Points) -> np.ndarray:
        """The sum of all terms, (num_ours, num_theirs)."""
        terms = self._terms(hyper, ours, theirs)
        kernel = next(terms)
        for term in terms:
            kernel += term
        return kernel

    def _terms(self, hyper: _Hyper, ours: _Points, theirs: _Points) -> Iterator[np.ndarray]:
        """The constant with the main effects, each product, and the feature."""
        main: np.ndarray = (ours.rows * hyper.main[self._gene]) @ theirs.rows.T
        main += 1.0
        yield main
        whole, *parts = zip(self._products, hyper.rates, hyper.products, strict=True)
        yield _product(*whole, ours.rows, theirs.rows)
        for part, settings in zip(parts, ours.settings, strict=True):
            # Many rows share the setting of a part, and an exponential takes longer than a copy.
            _, first, setting = np.unique(settings, return_index=True, return_inverse=True)
            yield _product(*part, ours.rows[first], theirs.rows)[setting]
        if not (ours.feature.any() or theirs.feature.any()):  # there is no feature
            yield np.broadcast_to(hyper.feature, main.shape)
            return
        by_feature = (ours.feature[:, None] - theirs.feature) / hyper.length
        by_feature *= by_feature
        by_feature *= -0.5
        np.exp(by_feature, out=by_feature)
        by_feature *= hyper.feature
        yield by_feature

    def loss(self, theta: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative ln of marginal likelihood times prior (constants left out) and its gradient, for the rows of the last fit.

        Source: Rasmussen & Williams 2006, equations 5.8 and 5.9.
        """
        hyper = self._hyper(theta)
        rows, seen_feature = self._seen.rows, self._seen.feature
        main, *products, feature = self._terms(hyper, self._seen, self._seen)
        kernel = sum([*products, feature], start=main)
        kernel[np.diag_indices_from(kernel)] += hyper.noise + self._error + JITTER
        factor = linalg.cholesky(kernel, lower=True, check_finite=False)
        weights = linalg.cho_solve((factor, True), target, check_finite=False)
        deviation = (theta - self._prior_mean) / self._prior_sd
        value = 0.5 * target @ weights + np.log(np.diag(factor)).sum() + 0.5 * deviation @ deviation
        lower, _ = linalg.lapack.dpotri(factor, lower=1)
        inverse = np.tril(lower) + np.tril(lower, -1).T
        slope = 0.5 * (inverse - np.outer(weights, weights))
        by_products, by_feature = [slope * product for product in products], slope * feature
        sums = np.array([by_product.sum() for by_product in by_products])
        distance = (seen_feature[:, None] - seen_feature) / hyper.length
        by_rates = [
            rates * (_per_gene(rows[:, factors.columns], factors.starts, by_product) - total)
            for factors, rates, by_product, total in zip(self._products, hyper.rates, by_products, sums, strict=True)
        ]
        gradient = np.concatenate(
            [
                hyper.main * _per_gene(rows, self._starts, slope),
                *by_rates,
                sums,
                [by_feature.sum(), (by_feature * distance**2).sum(), hyper.noise * np.trace(slope)],
            ]
        )
        return float(value), gradient + deviation / self._prior_sd


def _product(factors: _Factors, rates: np.ndarray, variance: float, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """One of the products, (num_ours, num_theirs), of encoded rows."""
    # In place: most of the time of an ask goes by here, and half of that would go to temporary matrices.
    product: np.ndarray = (ours[:, factors.columns] * rates[factors.gene]) @ theirs[:, factors.columns].T
    product -= rates.sum()
    np.exp(product, out=product)
    product *= variance
    return product


def _per_gene(columns: np.ndarray, starts: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(num_genes,): the sum over all pairs of rows of matrix times S_g."""
    sums: np.ndarray = np.add.reduceat(np.einsum("ij,ij->j", columns, matrix @ columns), starts)
    return sums
