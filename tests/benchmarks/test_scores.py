"""Scores of a known quality, on which the comparison of searches with and without them rests."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.scores import TAUS, opened, score_of


@pytest.mark.parametrize("name", ["hybrid_nano", "channels"])
@pytest.mark.parametrize("quality", ["perfect", *TAUS, "noise", "reversed"])
def test_a_score_orders_architectures_as_well_as_it_says(name: str, quality: str) -> None:
    problem = opened(name, Path("unused"))
    rows = problem.random_rows(400, np.random.default_rng(1))
    expected = problem.expected_percent(rows)
    tau = stats.kendalltau(score_of(problem, quality, 3)(np.array(rows)), expected).statistic
    wanted = {"perfect": 1.0, "noise": 0.0, "reversed": -1.0} | TAUS
    assert abs(tau - wanted[quality]) < 0.1
