"""Halving by Pareto rank: who goes on, and what a restart remembers."""

import numpy as np

from nas import records
from nas.pareto.front import non_dominated_mask
from nas.records import Costs, RungScore, TrialFacts
from nas.search.halving import ParetoHalving, crowding_distance, non_dominated_ranks, pareto_order
from nas.surrogates.curves import MIN_PAIRS


def facts(number: int, state: records.TrialState, curve: list[float], macs: int) -> TrialFacts:
    rungs = tuple(
        RungScore(rung=rung, steps=rung + 1, top1=top1, loss=0.0, duration_s=0.0) for rung, top1 in enumerate(curve)
    )
    return TrialFacts(number, f"{number:064x}", {}, "", Costs(1, macs), 0, state, rungs=rungs)


def after_the_first(keep: float) -> ParetoHalving:
    """With the first at the first rung: equally accurate, the smallest at cost 100."""
    halving = ParetoHalving(keep, "macs")
    assert all(halving.proceeds(-number, 0, 0.5, 100.0 * number) for number in range(1, MIN_PAIRS + 1))
    return halving


def test_the_first_go_on_and_then_the_better_half_by_rank() -> None:
    halving = after_the_first(0.5)
    assert not halving.proceeds(1, 0, 0.4, 700.0)
    assert halving.proceeds(2, 0, 0.6, 100.0)
    # Nobody is better at this cost, so its low top1 does not matter.
    assert halving.proceeds(3, 0, 0.2, 10.0)
    assert not halving.proceeds(4, 0, 0.3, 800.0)


def test_every_rung_has_its_own_ranking() -> None:
    halving = after_the_first(0.5)
    assert not halving.proceeds(1, 0, 0.1, 700.0)
    assert halving.proceeds(1, 1, 0.1, 100.0)


def test_about_the_share_goes_on_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    halving = ParetoHalving(0.25, "macs")
    going = [
        halving.proceeds(number, 0, float(top1), float(cost))
        for number, (top1, cost) in enumerate(rng.random((400, 2)) + 0.1)
    ]
    assert 0.2 < np.mean(going) < 0.35


def test_a_search_that_has_become_better_is_ranked_among_its_latest() -> None:
    halving = ParetoHalving(0.5, "macs")
    going = [
        halving.proceeds(number, 0, float(top1), 100.0)
        for number, top1 in enumerate(np.random.default_rng(0).random(400) + np.arange(400))
    ]
    assert all(going)
    rng = np.random.default_rng(1)
    for number in range(400, 600):
        halving.proceeds(number, 0, 1000 + float(rng.random()), 100.0)
    later = [halving.proceeds(number, 0, 1000 + float(rng.random()), 100.0) for number in range(600, 800)]
    assert 0.4 < np.mean(later) < 0.65


def test_a_restart_remembers_stopped_and_finished_trials() -> None:
    past = [
        facts(0, "COMPLETE", [0.5, 0.8], 100),
        *(facts(number, "COMPLETE", [0.6, 0.8], 100) for number in range(6, 6 + MIN_PAIRS)),
        facts(1, "PRUNED", [0.4], 200),
        facts(2, "FAIL", [0.9], 1),
        facts(3, "REJECTED", [], 1),
    ]
    halving = ParetoHalving(0.5, "macs", past)
    assert not halving.proceeds(4, 0, 0.45, 100.0)
    assert halving.proceeds(5, 0, 0.65, 100.0)


def test_a_restart_ranks_as_the_search_did_before_also_beside_trials_that_failed_later() -> None:
    live = ParetoHalving(0.5, "macs")
    past = [facts(number, "FAIL", [0.9], 100) for number in range(MIN_PAIRS)]
    for trial in past:
        live.proceeds(trial.trial_number, 0, 0.9, 100.0)
    restarted = ParetoHalving(0.5, "macs", past)
    assert not live.proceeds(99, 0, 0.5, 100.0)
    assert not restarted.proceeds(99, 0, 0.5, 100.0)


def test_a_repeated_score_of_a_retried_trial_counts_once() -> None:
    halving = after_the_first(0.5)
    for _ in range(5):
        assert not halving.proceeds(1, 0, 0.4, 700.0)


def test_the_order_takes_front_after_front() -> None:
    points = np.random.default_rng(1).random((60, 2)) + 0.1
    order = pareto_order(points)
    loss = np.column_stack([-points[:, 0], points[:, 1]])
    assert sorted(order) == list(range(60))
    while len(order):
        size = int(non_dominated_mask(loss[order]).sum())
        assert non_dominated_mask(loss[order])[:size].all()
        order = order[size:]


def test_within_a_rank_the_lonelier_come_first() -> None:
    points = np.array([[0.1, 1.0], [0.5, 2.0], [0.52, 2.1], [0.9, 9.0]])
    assert pareto_order(points).tolist() == [0, 3, 2, 1]


def test_ranks_equal_those_of_peeling_fronts_off_with_ties() -> None:
    points = np.random.default_rng(2).integers(1, 8, (80, 2)).astype(float)
    expected = np.zeros(80, dtype=int)
    left = np.arange(80)
    for rank in range(80):
        best = (
            non_dominated_mask(np.column_stack([-points[left, 0], points[left, 1]]))
            if len(left)
            else np.array([], dtype=bool)
        )
        expected[left[best]] = rank
        left = left[~best]
    assert non_dominated_ranks(points).tolist() == expected.tolist()


def test_crowding_is_the_gap_to_the_neighbours() -> None:
    loss = np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]])
    assert crowding_distance(loss).tolist() == [np.inf, 2.0, np.inf]
