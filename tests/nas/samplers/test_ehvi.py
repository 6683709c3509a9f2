"""What the searcher learns from, and when it begins to."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nas.pareto.front import hypervolume
from nas.samplers.ehvi import MAX_ROWS, EhviSearcher, Observations
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder
from nas.surrogates.genes import Row
from nas.tabular.problems import open_problem
from nas.tabular.recorded import Levels, RecordedScore
from nas.tabular.simulator import Simulation, simulate

LEVELS = [4] * 6
NONE = np.zeros((0, 6), dtype=int)


class Watched(GaussianProcess):
    """Notes the rows of its fits."""

    def __init__(self, encoder: GeneEncoder) -> None:
        super().__init__(encoder)
        self.fitted: list[np.ndarray] = []

    def fit(
        self,
        levels_ND: np.ndarray,
        feature_N: np.ndarray,
        target_N: np.ndarray,
        max_iterations: int,
        sd_N: np.ndarray | float = 0.0,
    ) -> None:
        self.fitted.append(levels_ND)
        super().fit(levels_ND, feature_N, target_N, max_iterations, sd_N)


def log_cost(row: Row) -> float:
    return sum(row) / 10


def observations(count: int) -> Observations:
    """Distinct rows; top1 rises with the first gene."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(np.unique(rng.integers(0, LEVELS, (4 * count, len(LEVELS))), axis=0))[:count]
    top1 = 0.1 * rows[:, 0] + 0.3 * rng.random(count)
    return Observations(rows, top1, np.array([log_cost(tuple(row)) for row in rows.tolist()]), np.zeros(count))


def propose(seen: Observations, failed: np.ndarray = NONE) -> Watched:
    """The surrogate after one proposal."""
    watched: list[Watched] = []

    def make(encoder: GeneEncoder) -> Watched:
        watched.append(Watched(encoder))
        return watched[0]

    searcher = EhviSearcher(LEVELS, [True] * 6, log_cost, surrogate=make)
    searcher.propose(seen, NONE, failed, tuple, lambda row: False, np.random.default_rng(1))
    return watched[0]


def as_set(rows: np.ndarray | Sequence[np.ndarray]) -> set[Row]:
    return {tuple(row) for row in np.asarray(rows).tolist()}


def test_of_many_results_the_front_and_what_lies_near_it_are_learned_from() -> None:
    seen = observations(600)
    learned = as_set(propose(seen).fitted[0])
    assert len(learned) == MAX_ROWS
    assert as_set(seen.rows_ND[seen.front()]) <= learned
    chosen = np.array([tuple(row) in learned for row in seen.rows_ND.tolist()])
    assert chosen[seen.top1_N > 0.45].mean() > 0.95 > 0.5 > chosen[seen.top1_N < 0.15].mean()


def test_a_failure_counts_as_bad_and_may_be_bad_luck() -> None:
    seen = observations(40)
    failed = np.array([[3, 3, 0, 0, 0, 0]])
    costs = np.array([log_cost(tuple(failed[0]))])
    untold, told = (propose(seen, rows).predict(failed, costs)[0][0] for rows in (NONE, failed))
    assert seen.top1_N.min() + 0.1 < told < untold - 0.1


def searched_with(score: Callable[[Levels], float], seed: int, workers: int = 1) -> Simulation:
    problem = open_problem("synthetic", Path("nowhere"), True)
    return simulate(problem, "ehvi", seed, 30, workers=workers, scores=(RecordedScore("given", partial(map, score)),))


def test_a_true_score_helps_and_a_false_one_is_no_prior() -> None:
    problem = open_problem("synthetic", Path("nowhere"), True)

    def share(simulation: Simulation) -> float:
        return hypervolume(simulation.points, problem.reference_point) / problem.front_hypervolume

    plain = np.mean([share(simulate(problem, "ehvi", seed, 30)) for seed in range(3)])
    helped = np.mean([share(searched_with(problem.accuracy_percent, seed)) for seed in range(3)])
    misled = np.mean([share(searched_with(lambda levels: hash(levels) % 1000, seed)) for seed in range(3)])
    assert helped > plain + 0.01
    assert misled > plain - 0.05


@pytest.mark.parametrize("workers", [1, 4])
def test_equal_seeds_give_equal_searches_with_a_score(workers: int) -> None:
    problem = open_problem("synthetic", Path("nowhere"), True)
    first, second = (searched_with(problem.accuracy_percent, 3, workers) for _ in range(2))
    assert first.trained == second.trained


def test_known_costs_that_are_kept_are_bounded_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = open_problem("synthetic", Path("nowhere"), True)
    kept = simulate(problem, "ehvi", 0, 20).trained
    monkeypatch.setattr("nas.samplers.ehvi.MAX_CACHED", 10)
    sizes: list[int] = []
    look_up = EhviSearcher._log_costs

    def counted(searcher: EhviSearcher, rows_ND: np.ndarray) -> np.ndarray:
        costs = look_up(searcher, rows_ND)
        sizes.append(len(searcher._costs) - len(rows_ND))
        return costs

    monkeypatch.setattr(EhviSearcher, "_log_costs", counted)
    assert simulate(problem, "ehvi", 0, 20).trained == kept
    assert max(sizes) <= 10
