"""Held-out predictions; Kendall's tau and its interval, against scipy and against closed forms."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from nas.surrogates.quality import FOLDS, Agreement, Quality, agreement, held_out, quality_of


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


def test_each_thing_is_predicted_once_from_others_alone() -> None:
    learned_from: list[int] = []

    def predict(rest: np.ndarray, fold: np.ndarray) -> np.ndarray:
        assert not set(rest) & set(fold) and len(rest) + len(fold) == 23
        learned_from.append(len(rest))
        return 10.0 * fold

    assert held_out(23, predict).tolist() == [10.0 * place for place in range(23)]
    assert len(learned_from) == FOLDS and set(learned_from) == {18, 19}


def test_quality_has_its_closed_forms(rng: np.random.Generator) -> None:
    target = rng.normal(size=20)
    noise = target + rng.normal(size=20)
    assert quality_of("top1", target, target) == Quality("top1", 20, 1.0, pytest.approx(1.0))
    assert quality_of("top1", np.full(20, target.mean()), target) == Quality("top1", 20, pytest.approx(0.0), None)
    assert quality_of("top1", noise, target).rank_correlation == pytest.approx(spearmanr(noise, target).statistic)
    assert quality_of("top1", noise, np.ones(20)) == Quality("top1", 20, None, None)
