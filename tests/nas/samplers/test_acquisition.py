"""Expected hypervolume growth against simulation and closed forms; candidates."""

import math

import numpy as np
import pytest

from nas.pareto.front import hypervolume
from nas.samplers.acquisition import expected_improvement, neighbours, offspring

FRONT = np.array([0.3, 0.5, 0.8]), np.array([0.0, 1.0, 2.0])
REFERENCE = 0.1, 3.0


def area(points: list[tuple[float, float]]) -> float:
    return hypervolume(
        [(top1, math.exp(log_cost)) for top1, log_cost in points], (REFERENCE[0], math.exp(REFERENCE[1]))
    )


@pytest.mark.parametrize("log_cost", [-0.5, 0.0, 0.7, 1.5, 2.9, 3.5])
def test_expected_growth_equals_the_mean_over_draws(log_cost: float) -> None:
    members = list(zip(*FRONT, strict=True))
    draws = np.random.default_rng(0).normal(0.6, 0.2, 20_000)
    growth = [area([*members, (float(top1), log_cost)]) - area(members) for top1 in draws]
    expected = expected_improvement(np.array([0.6]), np.array([0.2]), np.array([log_cost]), FRONT, REFERENCE)
    assert expected[0] == pytest.approx(np.mean(growth), abs=4 * np.std(growth) / math.sqrt(len(draws)) + 1e-12)


def test_a_certain_candidate_adds_its_hypervolume() -> None:
    members = list(zip(*FRONT, strict=True))
    for top1, log_cost in [(0.9, 0.5), (0.4, 0.5), (0.2, 0.5), (0.31, -1.0)]:
        certain = expected_improvement(np.array([top1]), np.array([1e-9]), np.array([log_cost]), FRONT, REFERENCE)
        assert certain[0] == pytest.approx(area([*members, (top1, log_cost)]) - area(members), abs=1e-6)


def test_neighbours_are_all_rows_with_one_other_gene() -> None:
    rows = neighbours(np.array([0, 1, 2]), np.array([2, 2, 3]), np.random.default_rng(0))
    assert sorted(map(tuple, rows.tolist())) == [(0, 0, 2), (0, 1, 0), (0, 1, 1), (1, 1, 2)]


def test_a_gene_of_many_levels_gives_some_neighbours_and_each_in_time() -> None:
    rng = np.random.default_rng(0)
    row = np.array([0, 30])
    drawn = [neighbours(row, np.array([8, 41]), rng) for _ in range(200)]
    for rows in drawn:
        assert ((rows != row).sum(axis=1) == 1).all()
        assert set(rows[rows[:, 1] == 30, 0].tolist()) == set(range(1, 8)), "a gene of seven others gives them all"
    others = [rows[rows[:, 0] == 0, 1] for rows in drawn]
    assert np.mean([len(levels) for levels in others]) == pytest.approx(4, abs=0.6)
    assert set(np.concatenate(others).tolist()) == set(range(41)) - {30}


def test_children_stay_in_the_space_and_near_their_parents() -> None:
    levels = np.array([3, 2, 4, 1, 3])
    parents = np.array([[0, 0, 0, 0, 0]])
    children = offspring(parents, 300, levels, np.random.default_rng(0))
    assert ((children >= 0) & (children < levels)).all()
    changed = (children != 0).sum(axis=1)
    assert (changed <= 3).all()
    assert (children[np.arange(300) % 3 == 0] == 0).all()
    assert set(changed.tolist()) >= {0, 1, 2, 3}
