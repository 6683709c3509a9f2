"""What the searcher learns from, and when it begins to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution

from nas.records import Gene
from nas.samplers.ehvi import MAX_ROWS, EhviSearcher, Observations
from nas.samplers.ehvi_sampler import EhviSampler
from nas.samplers.knowledge import Knowledge
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder
from nas.surrogates.genes import Row
from nas.tabular.problems import open_problem
from nas.tabular.simulator import simulate

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


def test_with_an_earlier_study_the_surrogate_decides_from_the_fourth_training_on() -> None:
    genes = tuple(Gene(name, (0, 1, 2, 3), True, "") for name in "abcdef")
    distributions = {gene.name: IntDistribution(0, 3) for gene in genes}
    earlier = tuple((dict.fromkeys("abcdef", level), 0.1 * level) for level in range(4))

    def fits(earlier: tuple[tuple[dict[str, int | str], float], ...]) -> int:
        watched: list[Watched] = []

        def make(encoder: GeneEncoder) -> Watched:
            watched.append(Watched(encoder))
            return watched[-1]

        knowledge = Knowledge(genes, dict, str, None, lambda genotype: True, earlier=earlier)
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=EhviSampler(0, knowledge, make))
        for _ in range(3):
            trial = study.ask(distributions)
            study.tell(trial, [trial.params["a"] / 4, 1.0 + trial.params["b"]])
        study.ask(distributions)
        return sum(len(process.fitted) for process in watched)

    assert fits(()) == 0
    assert fits(earlier) > 0


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
