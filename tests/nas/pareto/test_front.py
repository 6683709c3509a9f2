import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.pareto.front import (
    FrontKeeper,
    dominates,
    front_of,
    front_rows,
    hypervolume,
    knee,
    knee_number,
    non_dominated_mask,
)
from nas.records import Costs, FrontMember, RungScore, TrialFacts

POINTS = st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), min_size=1, max_size=40)


def trial(number: int, top1: float, macs: int, state: str = "COMPLETE") -> TrialFacts:
    score = RungScore(rung=0, steps=10, top1=top1, loss=1.0, duration_s=1.0)
    return TrialFacts(number, f"hash{number}", {}, "layout", Costs(10, macs), seed=0, state=state, rungs=(score,))


def test_non_dominated_mask_of_a_hand_made_case() -> None:
    loss = np.array([[0.0, 3.0], [1.0, 1.0], [1.0, 1.0], [1.0, 2.0], [3.0, 0.0]])
    assert non_dominated_mask(loss).tolist() == [True, True, True, False, True]


def test_dominance_is_no_worse_in_all_and_better_in_one() -> None:
    loss = np.array([[0.0, 3.0], [1.0, 1.0], [1.0, 1.0], [1.0, 2.0]])
    assert dominates(loss, loss[3]).tolist() == [False, True, True, False]
    assert dominates(loss[:, None], loss).sum() == 2


@given(POINTS)
def test_the_sweep_finds_what_the_mask_marks_once_by_ascending_cost(points: list[tuple[int, int]]) -> None:
    top1, cost = np.array(points, dtype=float).T
    rows = front_rows(top1, cost).tolist()
    mask = non_dominated_mask(np.column_stack([-top1, cost]))
    assert sorted(points[row] for row in rows) == sorted({points[row] for row in np.flatnonzero(mask)})
    assert [points.index(points[row]) for row in rows] == rows, "of equal rows the first"
    assert [cost[row] for row in rows] == sorted(cost[row] for row in rows)


def test_non_dominated_mask_names_the_row_that_is_not_finite() -> None:
    with pytest.raises(ValueError, match="row 1"):
        non_dominated_mask(np.array([[0.0, 1.0], [math.nan, 1.0]]))


def test_hypervolume_of_a_staircase_has_its_closed_form() -> None:
    # Points (i/n, e^i) against (0, e^(n+1)): column i adds height 1/n times width n + 1 - i.
    n = 7
    points = [(i / n, math.exp(i)) for i in range(1, n + 1)]
    expected = sum(n + 1 - i for i in range(1, n + 1)) / n
    assert hypervolume(reversed(points), (0.0, math.exp(n + 1))) == pytest.approx(expected)


def test_points_beyond_the_reference_point_add_nothing() -> None:
    inside = [(0.5, 2.0)]
    beyond = [(0.05, 1.0), (0.9, 30.0), (0.1, 10.0)]
    assert hypervolume(inside + beyond, (0.1, 10.0)) == pytest.approx(0.4 * math.log(5))


@given(POINTS)
def test_keeper_holds_exactly_the_non_dominated_trials_in_any_order(points: list[tuple[int, int]]) -> None:
    trials = [trial(number, top1 / 8, macs) for number, (top1, macs) in enumerate(points)]
    members = front_of(trials, "macs", (0.0, 100.0))
    mask = non_dominated_mask(np.array([(-top1, macs) for top1, macs in points], dtype=float))
    assert {m.trial_number for m in members} == set(np.flatnonzero(mask))
    assert members == front_of(reversed(trials), "macs", (0.0, 100.0))
    assert list(members) == sorted(members, key=lambda m: (m.cost, m.top1, m.trial_number))


@given(POINTS)
def test_every_new_version_grows_the_hypervolume_or_keeps_it(points: list[tuple[int, int]]) -> None:
    keeper = FrontKeeper("macs", (0.0, 100.0))
    fronts = [
        front for number, (top1, macs) in enumerate(points) if (front := keeper.add(trial(number, top1 / 8, macs)))
    ]
    volumes = [front.hypervolume for front in fronts]
    assert volumes == sorted(volumes)
    assert [front.version for front in fronts] == list(range(1, len(fronts) + 1))


@pytest.mark.parametrize("state", ["PRUNED", "FAIL", "REJECTED"])
def test_only_trials_that_finished_the_last_rung_enter_a_front(state: str) -> None:
    keeper = FrontKeeper("macs", (0.0, 100.0))
    assert keeper.add(trial(0, 0.99, 1, state)) is None
    assert keeper.members == ()


def test_keeper_continues_from_a_snapshot() -> None:
    keeper = FrontKeeper("macs", (0.0, 100.0))
    latest = keeper.add(trial(0, 0.5, 10))
    continued = FrontKeeper("macs", (0.0, 100.0), latest)
    front = continued.add(trial(1, 0.6, 20))
    assert front is not None
    assert front.version == 2
    assert [m.trial_number for m in front.members] == [0, 1]


def test_knee_is_the_bend() -> None:
    members = [
        FrontMember(i, str(i), top1, cost)
        for i, (top1, cost) in enumerate([(0.1, 1.0), (0.8, 2.0), (0.85, 8.0), (0.9, 64.0)])
    ]
    assert knee(members).trial_number == 1
    assert knee(members[:2]).trial_number == 1
    assert knee(members[:1]).trial_number == 0
    assert (knee_number(members), knee_number(())) == (1, None)
