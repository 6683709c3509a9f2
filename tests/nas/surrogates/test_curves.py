"""What stopped trainings would have reached."""

import numpy as np
import pytest

from nas.surrogates.curves import (
    LATEST_COURSES,
    MIN_PAIRS,
    MIN_SHARE,
    Curve,
    Extrapolator,
    extrapolate,
    finished_per_training,
)
from nas.surrogates.gaussian_process import GeneEncoder


def curves(scores_NR: np.ndarray) -> list[Curve]:
    return [Curve((number,), 1.0, scores.tolist()) for number, scores in enumerate(scores_NR)]


def test_where_the_score_tells_the_end_the_end_is_known() -> None:
    rng = np.random.default_rng(1)
    costs = rng.uniform(10, 14, 900)
    predicted = rng.uniform(0.5, 0.9, 900)
    surprise = rng.normal(scale=0.03, size=900)
    first = 0.02 * costs + 0.4 * predicted + 0.5 * surprise
    every = [
        Curve((0,), cost, [early, end]) for cost, early, end in zip(costs, first, predicted + surprise, strict=True)
    ]
    stopped = [curve._replace(scores=curve.scores[:1]) for curve in every[600:]]
    value, sd = extrapolate(every[:600], predicted[:600], stopped, predicted[600:])
    assert value == pytest.approx((predicted + surprise)[600:], abs=0.01)
    assert (sd < 0.005).all()


def test_observations_update_the_prediction_to_what_is_true_of_the_stopped() -> None:
    """Good and bad architectures, of which a score tells much; whatever scores low among its like is stopped."""
    rng = np.random.default_rng(0)
    predicted = rng.choice([0.3, 0.85], 4000) + rng.normal(scale=0.02, size=4000)
    end = predicted + rng.normal(scale=0.04, size=4000)
    early = 0.5 * end + rng.normal(scale=0.02, size=4000)
    scores = np.column_stack([early, end])
    goes_on = early > np.where(predicted > 0.6, 0.42, 0.15)
    finished = curves(scores[goes_on])
    stopped = curves(scores[~goes_on, :1])
    value, sd = extrapolate(finished, predicted[goes_on], stopped, predicted[~goes_on])
    precision = 1 / 0.04**2 + 1 / sd**2
    error = (predicted[~goes_on] / 0.04**2 + value / sd**2) / precision - end[~goes_on]
    good = predicted[~goes_on] > 0.6
    for group in (good, ~good):
        assert abs(error[group].mean()) < 0.004
        assert np.sqrt((error[group] ** 2 * precision[group]).mean()) == pytest.approx(1, abs=0.1)
    # An independent look at the end through the score, (early - 0) / 0.5, has this error.
    assert sd == pytest.approx(np.full(len(sd), 0.02 / 0.5), rel=0.1)


def test_a_score_that_tells_nothing_hardly_counts() -> None:
    rng = np.random.default_rng(0)
    scores = np.column_stack([rng.uniform(size=200), rng.normal(0.8, 0.03, 200)])
    _, sd = extrapolate(curves(scores[:100]), np.full(100, 0.8), curves(scores[100:, :1]), np.full(100, 0.8))
    assert sd == pytest.approx(np.full(100, 0.03 / np.sqrt(MIN_SHARE)), rel=0.15)


def test_a_better_score_is_no_bad_sign() -> None:
    finished = [Curve((0,), 0.0, [0.1 * place, 0.9 - 0.05 * place]) for place in range(6)]
    value, _ = extrapolate(
        finished, np.full(6, 0.7), [Curve((0,), 0.0, [0.0]), Curve((0,), 0.0, [0.5])], np.full(2, 0.7)
    )
    assert value == pytest.approx([0.775, 0.775])


def test_each_is_judged_by_the_last_rung_it_reached() -> None:
    rng = np.random.default_rng(3)
    end = rng.uniform(0.6, 0.9, 30)
    scores = np.column_stack([rng.uniform(size=30), end - 0.2, end])
    value, sd = extrapolate(
        curves(scores), np.full(30, 0.75), curves(scores[:5, :1]) + curves(scores[5:10, :2]), np.full(10, 0.75)
    )
    assert value[5:] == pytest.approx(end[5:10])
    assert (sd[:5] > 0.1).all() and (sd[5:] < 1e-6).all()


def test_too_few_finished_curves_tell_nothing() -> None:
    few = curves(np.array([[0.1, 0.5]] * (MIN_PAIRS - 1)))
    for value, sd in (
        extrapolate(few, np.zeros(len(few)), curves(np.array([[0.1]])), np.zeros(1)),
        Extrapolator(GeneEncoder.of([9], [True]))(few, curves(np.array([[0.1]]))),
    ):
        assert np.isnan(value).all() and np.isnan(sd).all() and len(value) == 1


def test_nothing_stopped_is_no_error_and_equal_scores_neither() -> None:
    equal = curves(np.array([[0.1, 0.5]] * 6))
    assert extrapolate(equal, np.full(6, 0.5), [], np.zeros(0))[0].shape == (0,)
    value, sd = extrapolate(equal, np.full(6, 0.5), [Curve((0,), 2.0, [0.05])], np.full(1, 0.5))
    assert value == pytest.approx([0.5]) and np.isfinite(sd).all()


def test_a_stopped_training_of_a_good_kind_is_expected_to_end_like_its_kind() -> None:
    """Architectures of gene 0 at 1 end at 0.8, others at 0.4; scores tell the kinds apart, and within a kind
    nothing."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, [2, 4, 4], (60, 3))
    end = np.where(rows[:, 0] == 1, 0.8, 0.4) + rng.normal(scale=0.01, size=60)
    early = np.where(rows[:, 0] == 1, 0.5, 0.2) + rng.normal(scale=0.05, size=60)
    every = [Curve(tuple(row), 1.0, [a, b]) for row, a, b in zip(rows.tolist(), early, end, strict=True)]
    unlucky = [Curve(tuple(row), 1.0, [0.4]) for row in rows.tolist() if row[0] == 1][:5]
    value, sd = Extrapolator(GeneEncoder.of([2, 4, 4], [False, True, True]))(every, unlucky)
    assert (np.abs(value - 0.8) < 2 * sd).all() and (value > 0.7).all()


def test_what_is_finished_for_the_steps_of_one_training_depends_on_the_cost() -> None:
    """Three rungs: small networks are finished, half of the large ones is stopped at the first, huge ones always at the
    second."""
    small = 10.0
    large = 13.0
    huge = 16.0
    whole = [0.1, 0.2, 0.3]
    first = [0.1]
    second = [0.1, 0.2]
    trainings = [
        Curve((0,), small, whole),
        Curve((0,), large, whole),
        Curve((0,), large, first),
        Curve((0,), huge, second),
    ] * 10
    found = finished_per_training(np.array([small, large, huge]), trainings)
    mean = np.array([0.5, (1 + 1 + 0.25 + 0.5) / 4])
    # Ten or twenty alike, and two of the average.
    expected = [
        (10 + 2 * mean[0]) / (10 + 2 * mean[1]),
        (10 + 2 * mean[0]) / (12.5 + 2 * mean[1]),
        2 * mean[0] / (5 + 2 * mean[1]),
    ]
    assert found == pytest.approx(expected)


def test_where_none_was_like_it_a_candidate_is_worth_the_average() -> None:
    trainings = [Curve((0,), 10.0, [0.1, 0.2]), Curve((0,), 10.0, [0.1])]
    assert finished_per_training(np.array([99.0]), trainings) == pytest.approx([0.5 / 0.75])


def test_where_none_was_finished_lately_no_cost_is_worth_nothing() -> None:
    trainings = [Curve((0,), 10.0, [0.1, 0.2])] * 3 + [Curve((0,), 11.0, [0.1])] * (2 * LATEST_COURSES)
    assert (finished_per_training(np.array([10.0, 11.0, 12.0]), trainings) > 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_rung_at_which_all_score_alike_tells_nothing(seed: int) -> None:
    """Early scores are often chance; what is left of equal ones after a fit is rounding, of which a slope would make
    any end."""
    rng = np.random.default_rng(seed)
    costs = rng.uniform(10, 14, 40)
    predicted = rng.uniform(0.5, 0.9, 40)
    surprise = rng.normal(scale=0.03, size=40)
    every = [Curve((0,), cost, [0.1, end]) for cost, end in zip(costs, predicted + surprise, strict=True)]
    stopped = [curve._replace(scores=curve.scores[:1]) for curve in every[8:]]
    value, sd = extrapolate(every[:8], predicted[:8], stopped, predicted[8:])
    assert value == pytest.approx(predicted[8:] + surprise[:8].mean())
    assert sd == pytest.approx(np.full(32, surprise[:8].std() * np.sqrt(8 / 6 / MIN_SHARE)))


def test_a_score_far_from_all_that_were_finished_tells_little() -> None:
    rng = np.random.default_rng(0)
    scores = np.column_stack([rng.normal(0.3, 0.01, 12), rng.normal(0.8, 0.03, 12)])
    scores[:, 1] += scores[:, 0]
    near = Curve((0,), 1.0, [0.3])
    far = Curve((0,), 1.0, [0.9])
    value, sd = extrapolate(curves(scores), np.full(12, 1.1), [near, far], np.full(2, 1.1))
    assert sd[1] > 10 * sd[0]
    assert abs(value[1] - 1.1) < 3 * sd[1]
