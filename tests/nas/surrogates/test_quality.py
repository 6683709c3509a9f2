"""Kendall's tau and its interval, against scipy and against closed forms."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas.surrogates.quality import Agreement, agreement


@pytest.mark.parametrize("levels", [3, 1000])
def test_tau_is_scipys_with_and_without_ties(rng: np.random.Generator, levels: int) -> None:
    predictors = rng.integers(levels, size=(15, 2))
    target = rng.integers(levels, size=15)
    found = agreement(predictors, target)
    assert found is not None
    assert found.tau == pytest.approx(np.mean([kendalltau(column, target).statistic for column in predictors.T]))
    assert found.low <= found.tau <= found.high and found.num == 15


def test_the_interval_is_that_of_drawing_rows_with_repetition(rng: np.random.Generator) -> None:
    target = rng.normal(size=12)
    predictor = target + rng.normal(size=12)
    found = agreement(predictor, target)
    drawn = rng.integers(12, size=(4000, 12))
    taus = [kendalltau(predictor[rows], target[rows]).statistic for rows in drawn]
    assert found is not None
    assert (found.low, found.high) == pytest.approx(np.nanpercentile(taus, [2.5, 97.5]), abs=0.04)


def test_the_same_order_and_the_reverse() -> None:
    values = np.arange(6.0)
    assert agreement(values**3, values) == Agreement(1.0, 1.0, 1.0, 6)
    assert agreement(-values, values) == Agreement(-1.0, -1.0, -1.0, 6)


def test_more_rows_narrow_the_interval(rng: np.random.Generator) -> None:
    widths = []
    for num in (10, 100):
        target = rng.normal(size=num)
        found = agreement(target + rng.normal(size=num), target)
        assert found is not None
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2


@pytest.mark.parametrize(
    ("predictor", "target"), [([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1.0, 2.0], [3.0, 3.0]), ([1.0], [2.0])]
)
def test_what_has_one_value_only_has_no_tau(predictor: list[float], target: list[float]) -> None:
    assert agreement(np.array(predictor), np.array(target)) is None


def test_resamples_of_one_row_only_do_not_count() -> None:
    assert agreement(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == Agreement(1.0, 1.0, 1.0, 2)
