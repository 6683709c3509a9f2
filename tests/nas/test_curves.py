"""What stopped trainings would have reached."""

import numpy as np
import pytest

from nas.curves import MIN_PAIRS, Curve, extrapolate


def test_a_linear_law_of_score_and_cost_is_found_again() -> None:
    rng = np.random.default_rng(1)
    scores, costs = rng.uniform(0.2, 0.6, 9), rng.uniform(10, 14, 9)
    finished = [Curve([score, score + 0.05, 0.3 + 0.8 * score + 0.01 * cost], cost) for score, cost in zip(scores, costs, strict=True)]
    mean, sd = extrapolate(finished, [Curve([0.1], 10.0), Curve([0.3, 0.35], 14.0)])
    assert mean == pytest.approx([0.48, 0.68])
    assert sd == pytest.approx([0.0, 0.0], abs=1e-9)


def test_a_small_network_that_has_not_left_chance_yet_is_expected_to_end_like_small_ones() -> None:
    finished = [Curve([0.1, 0.3 + 0.1 * size], float(size)) for size in range(8)]
    assert extrapolate(finished, [Curve([0.1], 0.0)])[0] == pytest.approx([0.3])


def test_far_below_the_finished_curves_less_is_known() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(0.5, 0.7, 20)
    last = first + 0.2 + rng.normal(scale=0.02, size=20)
    _, (near, far) = extrapolate([Curve(scores, 1.0) for scores in zip(first, last, strict=True)], [Curve([0.6], 1.0), Curve([0.1], 1.0)])
    assert 0.01 < near < 0.04
    assert far > 1.5 * near


def test_a_later_score_does_not_fall_as_the_earlier_one_rises() -> None:
    finished = [Curve([0.1 * place, 0.9 - 0.05 * place], 0.0) for place in range(6)]
    mean, _ = extrapolate(finished, [Curve([0.0], 0.0), Curve([0.5], 0.0)])
    assert mean == pytest.approx([0.775, 0.775])


def test_too_few_finished_curves_tell_nothing() -> None:
    mean, sd = extrapolate([Curve([0.1, 0.5], 1.0)] * (MIN_PAIRS - 1), [Curve([0.1], 1.0)])
    assert np.isnan(mean).all() and np.isnan(sd).all()


def test_nothing_stopped_is_no_error_and_equal_scores_neither() -> None:
    assert extrapolate([Curve([0.1, 0.5], 1.0)] * 6, [])[0].shape == (0,)
    mean, _ = extrapolate([Curve([0.1, 0.5], 1.0)] * 6, [Curve([0.05], 2.0)])
    assert mean == pytest.approx([0.5])
