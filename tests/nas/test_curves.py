"""What stopped trainings would have reached."""

import numpy as np
import pytest

from nas.curves import MIN_PAIRS, extrapolate


def test_a_line_through_the_finished_curves_is_found_again() -> None:
    scores = np.linspace(0.2, 0.6, 9)
    finished = [[score, score + 0.05, 0.3 + 0.8 * score] for score in scores]
    mean, sd = extrapolate(finished, [[0.1], [0.3, 0.35]])
    assert mean == pytest.approx([0.38, 0.54])
    assert sd == pytest.approx([0.0, 0.0], abs=1e-9)


def test_far_below_the_finished_curves_less_is_known() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(0.5, 0.7, 20)
    finished = np.column_stack([first, first + 0.2 + rng.normal(scale=0.02, size=20)]).tolist()
    _, (near, far) = extrapolate(finished, [[0.6], [0.1]])
    assert 0.01 < near < 0.04
    assert far > 1.5 * near


def test_too_few_finished_curves_tell_nothing() -> None:
    mean, sd = extrapolate([[0.1, 0.5]] * (MIN_PAIRS - 1), [[0.1]])
    assert np.isnan(mean).all() and np.isnan(sd).all()


def test_nothing_stopped_is_no_error_and_equal_scores_neither() -> None:
    assert extrapolate([[0.1, 0.5]] * 6, [])[0].shape == (0,)
    mean, _ = extrapolate([[0.1, 0.5]] * 6, [[0.05]])
    assert mean == pytest.approx([0.5])
