"""The Gaussian process against closed forms and scikit-learn's."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import check_grad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import PairwiseKernel

from nas.protocols import Traits
from nas.records import Gene
from nas.surrogates.gaussian_process import JITTER, GaussianProcess, GeneEncoder

LEVELS = [3, 2, 4, 3]
ORDERED = [False, False, True, True]


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    rows = rng.integers(0, LEVELS, (40, 4))
    return rows, rng.normal(size=40), rows @ [1.0, -2.0, 0.5, 0.3] + rows[:, 0] * rows[:, 2] + 0.1 * rng.normal(size=40)


def test_similarity_is_equality_or_closeness() -> None:
    encoder = GeneEncoder.of([3, 5, 1], [False, True, False])
    rows = np.array([[0, 0, 0], [0, 2, 0], [1, 4, 0]])
    encoded = encoder.encode(rows)
    gene = encoder.gene_of_column
    similarity = [encoder.offsets[g] + encoded[:, gene == g] @ encoded[:, gene == g].T for g in (0, 1, 2)]
    assert encoded.shape == (3, 2 + 4 + 1)
    assert similarity[0] == pytest.approx(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]]))
    assert similarity[1] == pytest.approx(np.array([[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]]))
    assert similarity[2] == pytest.approx(np.ones((3, 3)))


@pytest.mark.parametrize("has_feature", [True, False])
@pytest.mark.parametrize("error", [0.0, 0.7])
def test_gradient_is_that_of_the_loss(
    data: tuple[np.ndarray, np.ndarray, np.ndarray], has_feature: bool, error: float
) -> None:
    rows, feature, target = data
    process = GaussianProcess(GeneEncoder.of(LEVELS, ORDERED))
    process.fit(rows, feature * has_feature, target, 0, error * np.arange(40))
    theta = process.theta + np.random.default_rng(1).normal(scale=0.5, size=process.theta.shape)
    missed = check_grad(lambda t: process.loss(t)[0], lambda t: process.loss(t)[1], theta)
    assert missed < 1e-5 * np.linalg.norm(process.loss(theta)[1])


def test_an_answer_stands_whatever_is_computed_after_it(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    rows, feature, target = data
    first, second = (GaussianProcess(GeneEncoder.of(LEVELS, ORDERED)) for _ in range(2))
    first.fit(rows, feature, target, 5)
    answers = [
        *first.predict(rows, feature),
        first.mean(rows, feature),
        first.covariance(rows, feature),
        first.leave_one_out(),
    ]
    before = [answer.copy() for answer in answers]
    second.fit(rows[:20], feature[:20], -target[:20], 5)
    first.loss(first.theta + 1)
    again = [
        *first.predict(rows, feature),
        first.mean(rows, feature),
        first.covariance(rows, feature),
        first.leave_one_out(),
    ]
    for answer, copied, repeated in zip(answers, before, again, strict=True):
        assert np.array_equal(answer, copied) and np.array_equal(repeated, copied)


def test_predictions_equal_those_of_scikit_learn_with_the_same_kernel(
    data: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    rows, feature, target = data
    process = GaussianProcess(GeneEncoder.of(LEVELS, ORDERED))
    process.fit(rows, feature, target, 10)
    genes = len(LEVELS)
    values = np.exp(process.theta)
    main, pairs, rates, (product, by_feature, length, noise) = np.split(values, [genes, 2 * genes, 3 * genes])

    def kernel(a: np.ndarray, b: np.ndarray, **_: object) -> float:
        apart = np.abs(a[:4] - b[:4])
        similar = np.where(ORDERED, 1 - apart / (np.array(LEVELS) - 1), apart == 0)
        near = by_feature * np.exp(-0.5 * ((a[4] - b[4]) / length) ** 2)
        return float(1 + main @ similar + (pairs @ similar) ** 2 + product * np.exp(rates @ (similar - 1)) + near)

    scaled = np.column_stack([rows, (feature - feature.mean()) / feature.std()])
    peer = GaussianProcessRegressor(
        PairwiseKernel(metric=kernel), alpha=noise + JITTER, optimizer=None, normalize_y=True
    )
    peer.fit(scaled, target)
    mean, sd = peer.predict(scaled[:15] + 0, return_std=True)
    ours_mean, ours_sd = process.predict(rows[:15], feature[:15])
    assert ours_mean == pytest.approx(mean, rel=1e-6)
    assert process.mean(rows[:15], feature[:15]) == pytest.approx(ours_mean)
    assert ours_sd == pytest.approx(sd, rel=1e-4)


@pytest.mark.parametrize("num_rows", [0, 1, 2000])
def test_a_prediction_does_not_depend_on_what_is_asked_beside_it(
    data: tuple[np.ndarray, np.ndarray, np.ndarray], num_rows: int
) -> None:
    rows, feature, target = data
    process = GaussianProcess(GeneEncoder.of(LEVELS, ORDERED))
    process.fit(rows, feature, target, 10)
    rng = np.random.default_rng(6)
    asked = rng.integers(0, LEVELS, (num_rows, 4))
    costs = rng.normal(size=num_rows)
    mean, sd = process.predict(asked, costs)
    assert mean == pytest.approx(process.mean(asked, costs))
    for i in range(0, num_rows, 97):
        alone = process.predict(asked[i : i + 1], costs[i : i + 1])
        assert (mean[i], sd[i]) == pytest.approx((alone[0][0], alone[1][0]))


def test_leaving_one_out_is_predicting_it_from_the_others(data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    rows, feature, target = data
    process, alone = (GaussianProcess(GeneEncoder.of(LEVELS, ORDERED)) for _ in range(2))
    process.fit(rows, feature, target, 0)
    left_out = process.leave_one_out()
    assert np.abs(left_out - target).max() > 0.2 * target.std()
    for index in range(8):
        others = np.delete(np.arange(len(rows)), index)
        alone.fit(rows[others], feature[others], target[others], 0)
        # Mean and scale of the target are those of one row fewer.
        assert alone.mean(rows[[index]], feature[[index]])[0] == pytest.approx(left_out[index], abs=0.05 * target.std())
        mean, sd = alone.predict(rows[[index]], feature[[index]])
        spread = np.hypot(sd[0], np.exp(0.5 * alone.theta[-1]) * target[others].std())
        expected = stats.norm.logpdf(target[index], mean[0], spread)
        assert process.left_out_ln_density()[index] == pytest.approx(expected, abs=0.1)


def test_fitting_raises_the_likelihood_and_predicts_what_it_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, LEVELS, (60, 4))
    target = rows @ [1.0, -2.0, 0.5, 0.3] + rows[:, 0] * rows[:, 2]
    process = GaussianProcess(GeneEncoder.of(LEVELS, ORDERED))
    process.fit(rows[:40], np.zeros(40), target[:40], 0)
    before = process.loss(process.theta)[0]
    process.fit(rows[:40], np.zeros(40), target[:40], 30)
    assert process.loss(process.theta)[0] < before
    mean, _ = process.predict(rows[40:], np.zeros(20))
    assert np.corrcoef(mean, target[40:])[0, 1] > 0.97


def test_a_known_error_of_a_target_makes_it_count_less() -> None:
    rows = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [2, 1, 1, 1]])
    target = np.array([0.0, 1.0, 0.5])
    process = GaussianProcess(GeneEncoder.of(LEVELS, ORDERED))
    process.fit(rows, np.zeros(3), target, 0, np.array([0.0, 10.0, 0.0]))
    assert process.predict(rows[:1], np.zeros(1))[0][0] == pytest.approx(0.0, abs=0.01)
    process.fit(rows, np.zeros(3), target, 0, np.array([10.0, 0.0, 0.0]))
    assert process.predict(rows[:1], np.zeros(1))[0][0] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("constant", "num_rows"), [(0.0, 12), (0.5, 12), (0.07, 12), (0.1, 7)])
def test_a_constant_target_is_no_error_and_leaves_doubt(constant: float, num_rows: int) -> None:
    """The standard deviation of twelve times 0.07 is not zero in floating point."""
    process = GaussianProcess(GeneEncoder.of(LEVELS, ORDERED))
    rows = np.random.default_rng(0).integers(0, LEVELS, (num_rows, 4))
    process.fit(rows, np.zeros(num_rows), np.full(num_rows, constant), 5)
    mean, sd = process.predict(rows, np.zeros(num_rows))
    assert mean == pytest.approx(np.full(num_rows, constant))
    assert (sd > 1e-3).all()


def test_what_two_genes_do_together_is_expected_wherever_the_others_stand() -> None:
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 2, (500, 10))
    target = (rows[:, ::2] ^ rows[:, 1::2]).sum(axis=1) + 0.01 * rng.normal(size=500)
    process = GaussianProcess(GeneEncoder.of([2] * 10, [False] * 10))
    process.fit(rows[:100], np.zeros(100), target[:100], 60)
    mean, _ = process.predict(rows[100:], np.zeros(400))
    assert np.mean((mean - target[100:]) ** 2) < 0.003 * target.var()


def test_traits_tell_what_genes_hide() -> None:
    every = np.array([(first, second) for first in range(4) for second in range(4)])
    target = np.array([0.1, 0.7, 0.4, 0.2])[every.sum(axis=1) % 4]
    genes = [Gene(name, (0, 1, 2, 3), False, "") for name in "ab"]
    traits = Traits((Gene("sum", (0, 1, 2, 3), False, ""),), lambda rows: rows.sum(axis=1, keepdims=True) % 4)
    learned = np.random.default_rng(0).permutation(16)[:10]
    errors = []
    for encoder in (GeneEncoder.of_genes(genes, traits), GeneEncoder.of_genes(genes)):
        process = GaussianProcess(encoder)
        process.fit(every[learned], np.zeros(10), target[learned], 30)
        errors.append(np.abs(process.mean(every, np.zeros(16)) - target).max())
    assert errors[0] < 0.02 < 0.1 < errors[1]
