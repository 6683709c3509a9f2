"""A Gaussian process over genes, small and fast: the surrogate of the `ehvi` sampler.

The kernel is a sum: a constant, one term per gene (main effects), the square of another such sum (with what two genes
do together), the product over all genes (all other interactions), and a term over a cheap numeric feature such as ln
cost. Each gene's similarity S_g is 1 for equal values and falls to 0; it is an inner product of encoded rows and a
constant, so that every kernel matrix and every gradient is a matrix product. Hyperparameters maximise marginal
likelihood times a log-normal prior.

Source: Rasmussen & Williams, "Gaussian Processes for Machine Learning", MIT Press 2006, chapters 2, 4.2.2 (the
polynomial kernel) and 5. The prior means scale with the number of genes, after Hvarfner, Hellsten & Nardi, "Vanilla
Bayesian Optimization Performs Great in High Dimensions", ICML 2024.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from scipy import linalg, optimize

from nas.protocols import Traits
from nas.records import Gene

JITTER = 1e-8
"""Added to the diagonal in units of the standardised target's variance, against rounding."""
ROUNDING = 1e-12
"""What varies less than this, relative to its size, is constant."""
REFIT_ITERATIONS = 15
BLOCK = 24_576
"""Entries of the matrices that predictions go through: they stay in a processor's cache. Larger ones are given back to
the system and taken from it again at each step, which costs a third of the time."""
NO_PRODUCT = 1e-12
"""Prior median of the variance of a product that is to be left out, far below every other."""
TAILS = 4.0
"""Hyperparameters stay within this many prior standard deviations."""


@dataclass(frozen=True, slots=True)
class GeneEncoder:
    """Rows of levels -> rows whose inner product, within the columns of gene g, is S_g less a constant.

    With the constant left out a gene of n levels takes n - 1 columns; the time of an ask goes with their number. Where
    it has traits, they take the place of the genes.
    """

    tables: tuple[np.ndarray, ...]
    """Per gene: (num_levels, num_columns) float64."""
    offsets: np.ndarray
    """(num_genes,) what is to be added to the inner products."""
    gene_of_column: np.ndarray
    """(num_columns,) int."""
    entries: np.ndarray
    """All tables, row by row, one after the other: of many rows every column is looked up at once."""
    first_entries: np.ndarray
    """(num_columns,) int: where the lowest level's value of each column stands in `entries`."""
    steps: np.ndarray
    """(num_columns,) int: how far it is from one level's value to the next."""
    traits: Callable[[np.ndarray], np.ndarray] | None
    """Rows of levels of the genes -> those that are encoded; None where they are the same."""

    @classmethod
    def of(
        cls,
        num_levels: Sequence[int],
        ordered: Sequence[bool],
        traits: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Self:
        """S = 1 - |i - j| / (levels - 1) where levels have an order, else 1 when equal and 0 when not."""
        tables, offsets = zip(*map(_columns, num_levels, ordered), strict=True)
        widths = [table.shape[1] for table in tables]
        begins = np.cumsum([0, *(table.size for table in tables[:-1])])
        first_entries = np.concatenate([begin + np.arange(width) for begin, width in zip(begins, widths, strict=True)])
        entries = np.concatenate([table.ravel() for table in tables])
        return cls(
            tables,
            np.array(offsets),
            np.repeat(np.arange(len(widths)), widths),
            entries,
            first_entries,
            np.repeat(widths, widths),
            traits,
        )

    @classmethod
    def of_genes(cls, genes: Sequence[Gene], traits: Traits | None = None) -> Self:
        """Encode the traits, or without any the genes themselves."""
        seen = genes if traits is None else traits.described
        levels = None if traits is None else traits.levels
        return cls.of([len(gene.values) for gene in seen], [gene.ordered for gene in seen], levels)

    def seen(self, levels_ND: np.ndarray) -> np.ndarray:
        """(num_rows, number of tables) int: the levels that are encoded."""
        return levels_ND if self.traits is None else self.traits(levels_ND)

    @property
    def starts(self) -> np.ndarray:
        """(num_genes,) int: first column of each gene."""
        return np.concatenate([[0], np.cumsum([table.shape[1] for table in self.tables])[:-1]])

    def encode(self, levels_ND: np.ndarray) -> np.ndarray:
        """(num_rows, num_genes) int -> (num_rows, num_columns) float64."""
        encoded: np.ndarray = self.entries.take(
            self.seen(levels_ND).take(self.gene_of_column, axis=1) * self.steps + self.first_entries
        )
        return encoded


def _columns(num_levels: int, is_ordered: bool) -> tuple[np.ndarray, float]:
    """One gene's table, (num_levels, num_levels - 1), and the largest constant that leaves an inner product."""
    if num_levels == 1:
        return np.ones((1, 1)), 0.0
    if is_ordered:  # as many columns are positive as there are levels below
        above = np.arange(num_levels)[:, None] > np.arange(num_levels - 1)
        return np.where(above, 1.0, -1.0) / np.sqrt(2 * (num_levels - 1)), 0.5
    return linalg.helmert(num_levels).T, 1 / num_levels


@dataclass(frozen=True, slots=True)
class _Hyper:
    """Hyperparameters, all positive; the target is standardised."""

    main: np.ndarray
    """(num_genes,) variance of each gene's own effect."""
    pairs: np.ndarray
    """(num_genes,) weight of each gene in the square; those of two genes multiply."""
    rates: np.ndarray
    """(num_genes,) how fast the product falls with 1 - S_g."""
    product: float
    feature: float
    length: float
    """Length scale of the feature, in its standard deviations."""
    noise: float

    @classmethod
    def of(cls, theta: np.ndarray) -> "_Hyper":
        genes = (len(theta) - 4) // 3
        main, pairs, rates, others = np.split(np.exp(theta), [genes, 2 * genes, 3 * genes])
        return cls(main, pairs, rates, *map(float, others))

    @property
    def variance(self) -> float:
        """Variance of the prior at any point, noise left out; the 1 is the constant's."""
        return 1 + float(self.main.sum()) + float(self.pairs.sum()) ** 2 + self.product + self.feature


class Refits:
    """When to fit hyperparameters again: whenever the record has grown by a sixteenth. Conditioning on every row costs
    much less."""

    def __init__(self) -> None:
        self._fitted = 0

    def iterations(self, num_rows: int) -> int:
        """For the next fit, of so many rows; 0 keeps the hyperparameters."""
        if num_rows - self._fitted < max(1, num_rows // 16):
            return 0
        self._fitted = num_rows
        return REFIT_ITERATIONS


class Surrogate(Protocol):
    """Regression over rows and one numeric feature, with uncertainty; GaussianProcess says what the arguments are."""

    def fit(
        self,
        levels_ND: np.ndarray,
        feature_N: np.ndarray,
        target_N: np.ndarray,
        max_iterations: int,
        sd_N: np.ndarray | float = 0.0,
    ) -> None: ...

    def predict(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

    def mean(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> np.ndarray: ...


class GaussianProcess:
    """Regression of one finite target. Fit it, then predict; a refit begins at the last hyperparameters."""

    def __init__(self, encoder: GeneEncoder, pairs_only: bool = False) -> None:
        """Begin with the prior.

        Args:
            encoder: of the rows to come.
            pairs_only: leave out what more than two genes do together; a mean is then found in a third of the time.
        """
        genes = len(encoder.tables)
        self._encoder = encoder
        self._pairs_only = pairs_only
        self._starts = encoder.starts
        self._gene = encoder.gene_of_column
        self._offsets = encoder.offsets
        # sqrt(2) / genes: a square of 2 for equal rows, where every weight is at its prior median.
        per_gene = np.repeat([0.5 / genes, np.sqrt(2) / genes, 2 / genes], genes)
        product = NO_PRODUCT if pairs_only else 0.5
        self._prior_mean = np.log(np.concatenate([per_gene, [product, 0.5, 1.0, 0.0067]]))
        self._prior_sd = np.concatenate([np.repeat([2.5, 1.5, 2.0], genes), [1.0, 1.0, 0.7, 1.5]])
        self.theta = self._prior_mean.copy()
        """(3 num_genes + 4,) ln of the hyperparameters: main, pairs, rates, product, feature, length, noise."""

    def fit(
        self,
        levels_ND: np.ndarray,
        feature_N: np.ndarray,
        target_N: np.ndarray,
        max_iterations: int,
        sd_N: np.ndarray | float = 0.0,
    ) -> None:
        """Learn from N >= 2 rows.

        Args:
            levels_ND: (num_rows, num_genes) int.
            feature_N: (num_rows,) numeric feature; zeros where there is none.
            target_N: (num_rows,) finite.
            max_iterations: of L-BFGS; 0 keeps the hyperparameters.
            sd_N: (num_rows,) known standard deviation of each target's own error, beside the noise that is learned.
        """
        self._feature_scale = _mean_and_scale(feature_N)
        self._target_scale = _mean_and_scale(target_N)
        self._rows = self._encoder.encode(levels_ND)
        self._feature = self._scaled(feature_N)
        self._target = (target_N - self._target_scale[0]) / self._target_scale[1]
        self._error = np.broadcast_to((sd_N / self._target_scale[1]) ** 2, self._target.shape)
        self._terms = np.empty((4, len(target_N), len(target_N)))  # of the kernel, overwritten by each evaluation
        if max_iterations:
            bounds = list(
                zip(self._prior_mean - TAILS * self._prior_sd, self._prior_mean + TAILS * self._prior_sd, strict=True)
            )
            found = optimize.minimize(
                self.loss, self.theta, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": max_iterations}
            )
            self.theta = found.x
        self._hyper = _Hyper.of(self.theta)
        self._learned = self._weighted(self._hyper, self._rows), self._feature
        kernel = self._with_noise(self._kernel(self._rows, self._feature, self._terms), self._hyper)
        self._factor = linalg.cholesky(kernel, lower=True, check_finite=False)
        self._weights = linalg.cho_solve((self._factor, True), self._target, check_finite=False)
        self._polynomial: tuple[float, np.ndarray, np.ndarray] | None = None

    def predict(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the noise-free target, each (num_rows,), in its units."""
        crosses = self._crosses(levels_ND, feature_N)
        mean, explained = map(
            np.concatenate, zip(*((cross @ self._weights, self._explained(cross)) for cross in crosses), strict=True)
        )
        offset, scale = self._target_scale
        return offset + scale * mean, scale * np.sqrt(np.maximum(self._hyper.variance - explained, JITTER))

    def mean(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> np.ndarray:
        """The mean of `predict` alone, in a fraction of the time."""
        rows = self._encoder.encode(levels_ND)
        feature = self._scaled(feature_N)
        if self._polynomial is None:
            self._polynomial = self._summed_polynomial()
        constant, linear, square = self._polynomial
        mean: np.ndarray = constant + rows @ linear + np.einsum("ij,ij->i", rows @ square, rows)
        self._add_curved(mean, rows, feature)
        offset, scale = self._target_scale
        return offset + scale * mean

    def _add_curved(self, mean_N: np.ndarray, rows: np.ndarray, feature: np.ndarray) -> None:
        """Add what product and feature give to the mean, block by block."""
        (_, _, rates), learned_feature = self._learned
        has_feature = bool(feature.any() or learned_feature.any())
        if not has_feature:
            mean_N += self._hyper.feature * self._weights.sum()
        if self._pairs_only and not has_feature:
            return
        size = max(1, min(len(rows), BLOCK // len(rates)))
        terms = np.empty((size, len(rates)))
        for begin in range(0, len(rows), size):
            block = slice(begin, begin + size)
            term = terms[: len(rows[block])]
            if not self._pairs_only:
                self._write_product(self._hyper, rows[block], rates, term)
                mean_N[block] += term @ self._weights
            if has_feature:
                self._write_feature(self._hyper, feature[block], learned_feature, term)
                mean_N[block] += term @ self._weights

    def _summed_polynomial(self) -> tuple[float, np.ndarray, np.ndarray]:
        """What constant, main effects and pairs give to the mean, as a polynomial of an encoded row: the constant, the
        linear coefficients (num_columns,) and the quadratic ones (num_columns, num_columns).

        They are polynomials for each fitted row, so that their sum over all of these is taken once.
        """
        hyper = self._hyper
        (main, pairs, _), _ = self._learned
        pairs_offset = hyper.pairs @ self._offsets
        constant = (1 + hyper.main @ self._offsets + pairs_offset**2) * self._weights.sum()
        linear = self._weights @ (main + 2 * pairs_offset * pairs)
        return float(constant), linear, (pairs.T * self._weights) @ pairs

    def leave_one_out(self) -> np.ndarray:
        """(num_rows,) what would be predicted of each row of the last fit by all the others.

        Source: Rasmussen & Williams 2006, equation 5.12.
        """
        mean, scale = self._target_scale
        others: np.ndarray = mean + scale * (self._target - self._weights * self._left_out_variance())
        return others

    def left_out_ln_density(self) -> np.ndarray:
        """(num_rows,) ln of the density, in the target's unit, that all others give to each target of the last fit.

        Source: Rasmussen & Williams 2006, equations 5.10 to 5.12.
        """
        variance = self._left_out_variance()
        deviation = self._weights * np.sqrt(variance)
        scale = self._target_scale[1]
        density: np.ndarray = -0.5 * (deviation**2 + np.log(2 * np.pi * variance)) - math.log(scale)
        return density

    def _left_out_variance(self) -> np.ndarray:
        """(num_rows,) of what is predicted of each standardised target of the last fit by all the others."""
        inverse, _ = linalg.lapack.dpotri(self._factor, lower=1)
        variance: np.ndarray = 1 / np.diag(inverse)
        return variance

    def covariance(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> np.ndarray:
        """Covariance of the noise-free target at the rows, (num_rows, num_rows), in its unit squared; the diagonal is
        the variance of `predict`."""
        rows = self._encoder.encode(levels_ND)
        feature = self._scaled(feature_N)
        cross = self._kernel(rows, feature, np.empty((4, len(rows), len(self._rows))))
        half = linalg.solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        prior = np.empty((4, len(rows), len(rows)))
        self._write_terms(self._hyper, (rows, feature), (self._weighted(self._hyper, rows), feature), prior)
        covariance: np.ndarray = self._target_scale[1] ** 2 * (_add_up(prior) - half.T @ half)
        return covariance

    def _scaled(self, feature_N: np.ndarray) -> np.ndarray:
        mean, scale = self._feature_scale
        scaled: np.ndarray = (feature_N - mean) / scale
        return scaled

    def _crosses(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> Iterator[np.ndarray]:
        """The kernel between these rows and those of the last fit, block by block: (num_rows of the block, num_fitted),
        overwritten by the next."""
        rows = self._encoder.encode(levels_ND)
        feature = self._scaled(feature_N)
        size = max(1, min(len(rows), BLOCK // len(self._rows)))
        terms = np.empty((4, size, len(self._rows)))
        for begin in range(0, max(1, len(rows)), size):
            block = slice(begin, begin + size)
            yield self._kernel(rows[block], feature[block], terms[:, : len(rows[block])])

    def _explained(self, cross: np.ndarray) -> np.ndarray:
        """(num_rows,): how much of the prior variance the last fit takes away."""
        half = linalg.solve_triangular(self._factor, cross.T, lower=True, overwrite_b=True, check_finite=False)
        explained: np.ndarray = np.einsum("ij,ij->j", half, half)
        return explained

    def _kernel(self, rows: np.ndarray, feature: np.ndarray, terms: np.ndarray) -> np.ndarray:
        self._write_terms(self._hyper, (rows, feature), self._learned, terms)
        return _add_up(terms)

    def _with_noise(self, kernel: np.ndarray, hyper: _Hyper) -> np.ndarray:
        """The kernel of the rows of the last fit, with what their targets have of error on its diagonal."""
        kernel[np.diag_indices_from(kernel)] += hyper.noise + self._error + JITTER
        return kernel

    def _weighted(self, hyper: _Hyper, rows: np.ndarray) -> list[np.ndarray]:
        """Encoded rows whose inner products with others are sums over genes of weight times S_g: main effects, pairs,
        product."""
        return [rows * weights[self._gene] for weights in (hyper.main, hyper.pairs, hyper.rates)]

    def _write_terms(
        self,
        hyper: _Hyper,
        ours: tuple[np.ndarray, np.ndarray],
        theirs: tuple[list[np.ndarray], np.ndarray],
        out: np.ndarray,
    ) -> None:
        """Write the four terms of the kernel: main effects, what is squared for pairs, product, feature.

        Args:
            ours: encoded rows and feature.
            theirs: weighted rows and feature; candidates, of which there are many more, are ours.
            out: (4, num_ours, num_theirs), overwritten. Most of the time of an ask goes by here, and a third more would
                go to new matrices.
        """
        main, pairs, product, by_feature = out
        weighted, feature = theirs
        np.matmul(ours[0], weighted[0].T, out=main)
        main += hyper.main @ self._offsets
        np.matmul(ours[0], weighted[1].T, out=pairs)
        pairs += hyper.pairs @ self._offsets
        self._write_product(hyper, ours[0], weighted[2], product)
        self._write_feature(hyper, ours[1], feature, by_feature)

    def _write_product(self, hyper: _Hyper, ours: np.ndarray, theirs: np.ndarray, out: np.ndarray) -> None:
        """(num_ours, num_theirs): the product over all genes, of encoded and weighted rows."""
        np.matmul(ours, theirs.T, out=out)
        out += hyper.rates @ (self._offsets - 1)
        np.exp(out, out=out)
        out *= hyper.product

    @staticmethod
    def _write_feature(hyper: _Hyper, ours: np.ndarray, theirs: np.ndarray, out: np.ndarray) -> None:
        """(num_ours, num_theirs): the term over the feature."""
        if not (ours.any() or theirs.any()):  # there is no feature
            out.fill(hyper.feature)
            return
        np.subtract(ours[:, None] / hyper.length, theirs / hyper.length, out=out)
        out *= out
        out *= -0.5
        np.exp(out, out=out)
        out *= hyper.feature

    def loss(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative ln of marginal likelihood times prior (constants left out) and its gradient, for the rows of the
        last fit.

        Source: Rasmussen & Williams 2006, equations 5.8 and 5.9.
        """
        hyper = _Hyper.of(theta)
        weighted = self._weighted(hyper, self._rows)
        self._write_terms(hyper, (self._rows, self._feature), (weighted, self._feature), self._terms)
        kernel = self._with_noise(_add_up(self._terms), hyper)
        factor = linalg.cholesky(kernel.T, lower=True, overwrite_a=True, check_finite=False)
        weights = linalg.cho_solve((factor, True), self._target, check_finite=False)
        deviation = (theta - self._prior_mean) / self._prior_sd
        value = 0.5 * self._target @ weights + np.log(np.diag(factor)).sum() + 0.5 * deviation @ deviation
        # Half of (inverse - weights weights'), of which one triangle of the inverse stands for both: only sums over all
        # pairs are taken.
        lower, _ = linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
        slope = lower.T
        slope[np.diag_indices_from(slope)] *= 0.5
        slope -= np.outer(0.5 * weights, weights)
        by_pairs, by_product, by_feature = (np.multiply(slope, term, out=term) for term in self._terms[1:])
        gradient = np.concatenate(
            [
                hyper.main * self._per_gene(slope),
                2 * hyper.pairs * self._per_gene(by_pairs),
                hyper.rates * (self._per_gene(by_product) - by_product.sum()),
                [by_product.sum(), by_feature.sum(), _weighted_squares(by_feature, self._feature / hyper.length)],
                [hyper.noise * np.trace(slope)],
            ]
        )
        return float(value), gradient + deviation / self._prior_sd

    def _per_gene(self, matrix: np.ndarray) -> np.ndarray:
        """(num_genes,): the sum over all pairs of rows of matrix times S_g."""
        products = np.add.reduceat(np.einsum("ij,ij->j", self._rows, matrix @ self._rows), self._starts)
        sums: np.ndarray = products + self._offsets * matrix.sum()
        return sums


def power_of_two(values_N: np.ndarray) -> float:
    """One about as large as the largest value; divided by it, values can be squared, and round as they did."""
    largest = float(np.abs(values_N).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest else 1.0


def _mean_and_scale(values_N: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation; 1 for a constant, whose deviation is rounding."""
    unit = power_of_two(values_N)
    scaled = values_N / unit
    scale = float(scaled.std())
    return unit * float(scaled.mean()), unit * scale if scale > ROUNDING * np.abs(scaled).max() else 1.0


def _add_up(terms: np.ndarray) -> np.ndarray:
    """The whole kernel, the constant's 1 included, in the memory of the main effects."""
    kernel: np.ndarray = terms[0]
    kernel += terms[1] ** 2
    kernel += terms[2]
    kernel += terms[3]
    kernel += 1.0
    return kernel


def _weighted_squares(weights: np.ndarray, feature: np.ndarray) -> float:
    """The sum over all pairs of weight times squared distance, without a matrix of distances."""
    return float((weights.sum(axis=0) + weights.sum(axis=1)) @ feature**2 - 2 * feature @ weights @ feature)
