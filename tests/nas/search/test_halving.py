"""Halving by Pareto rank: who goes on, and what a restart remembers."""

from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState

from nas import records
from nas.pareto.front import non_dominated_mask
from nas.records import Costs, Gene, RungScore, TrialFacts
from nas.samplers.ehvi import EhviSearcher, Observations
from nas.samplers.ehvi_sampler import EhviSampler
from nas.samplers.knowledge import COST, CURVE, Knowledge
from nas.samplers.registry import SAMPLERS
from nas.search.halving import ParetoHalving, crowding_distance, non_dominated_ranks, pareto_order
from nas.surrogates.curves import MIN_PAIRS
from nas.tabular.problems import open_problem
from nas.tabular.simulator import simulate


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


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_bears_stopped_trainings(sampler: str) -> None:
    run = simulate(open_problem("synthetic", Path("nowhere"), True), sampler, 0, 30, workers=2, rungs=2)
    states = [trial.state for trial in run.facts]
    assert states.count("COMPLETE") + states.count("PRUNED") == 30 and states.count("PRUNED") >= 3


def test_the_sampler_learns_from_stopped_trainings() -> None:
    genes = (Gene("a", (0, 1, 2, 3), True, ""), Gene("b", (0, 1, 2, 3), True, ""))
    knowledge = Knowledge(genes, dict, lambda genotype: str(genotype), None, lambda genotype: True)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=EhviSampler(0, knowledge))
    distributions = {gene.name: IntDistribution(0, 3) for gene in genes}

    def tell(a: int, b: int, curve: list[float], state: TrialState) -> None:
        study.enqueue_trial({"a": a, "b": b})
        trial = study.ask(distributions)
        trial.set_user_attr(CURVE, curve)
        trial.set_user_attr(COST, 1.0 + a)
        study.tell(trial, [curve[-1], 1.0 + a] if state == TrialState.COMPLETE else None, state=state)

    for a, b in [(0, 0), (0, 1), (1, 1), (2, 2), (3, 0), (1, 3)]:
        tell(a, b, [0.1 * (a + b), 0.2 + 0.1 * (a + b)], TrialState.COMPLETE)
    tell(3, 3, [0.05], TrialState.PRUNED)
    sampler = study.sampler
    assert isinstance(sampler, EhviSampler)
    trials = [((int(trial.params["a"]), int(trial.params["b"])), trial) for trial in study.get_trials()]
    seen = sampler._observations(trials)
    assert seen.rows_ND[-1].tolist() == [3, 3] and seen.sd_N[-1] > 0 and len(seen.sd_N) == 7
    assert seen.top1_N[-1] < 0.5, "its genes alone let expect 0.8"
    assert 6 not in seen.front()


def test_what_was_passed_over_and_trained_later_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    genes = (Gene("a", (0, 1), True, ""), Gene("b", (0, 1), True, ""))
    sampler = EhviSampler(0, Knowledge(genes, dict, str, None, lambda genotype: True))  # type: ignore[arg-type]
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    distributions = {gene.name: IntDistribution(0, 1) for gene in genes}
    learned: list[list[float]] = []

    def propose(seen: Observations, *others: object) -> tuple[int, int]:
        learned.append(seen.top1_N.tolist())
        return 0, 0

    monkeypatch.setattr(sampler._searcher, "propose", propose)
    for state in (TrialState.PRUNED, TrialState.COMPLETE, TrialState.PRUNED):
        study.enqueue_trial({"a": 1, "b": 1})
        trial = study.ask(distributions)
        if state == TrialState.COMPLETE:
            trial.set_user_attr(CURVE, [0.7])
            trial.set_user_attr(COST, 9.0)
        study.tell(trial, [0.7, 9.0] if state == TrialState.COMPLETE else None, state=state)
    study.ask(distributions)
    assert learned == [[0.7]]


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


def test_stopped_trainings_count_among_the_random_ones_that_come_first() -> None:
    genes = tuple(Gene(f"g{i}", tuple(range(4)), True, "") for i in range(6))
    distributions = {gene.name: IntDistribution(0, 3) for gene in genes}

    def proposal(num_stopped: int) -> dict[str, int]:
        knowledge = Knowledge(genes, dict, str, lambda genotype: 1.0 + sum(genotype.values()), lambda genotype: True)  # type: ignore[arg-type]
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=EhviSampler(0, knowledge))
        rng = np.random.default_rng(4)
        for number in range(3 + num_stopped):
            values = {gene.name: int(rng.integers(4)) for gene in genes}
            study.enqueue_trial(values)
            trial = study.ask(distributions)
            top1 = 0.5 + 0.02 * sum(values.values())
            cost = 1.0 + sum(values.values())
            trial.set_user_attr(CURVE, [top1 / 2, top1] if number < 3 else [top1 / 2])
            trial.set_user_attr(COST, cost)
            if number < 3:
                study.tell(trial, [top1, cost])
            else:
                study.tell(trial, state=TrialState.PRUNED)
        return study.ask(distributions).params

    # The first draw is the same as long as it is a random one.
    assert proposal(2) == proposal(5) != proposal(7)


@pytest.mark.parametrize("workers", [1, 8])
def test_a_search_with_rungs_failures_and_duplicates_is_exact(workers: int) -> None:
    problem = open_problem("synthetic", Path("nowhere"), True)
    run = simulate(problem, "ehvi", 3, 120, workers=workers, failure_rate=0.2, duplicates=0.1, rungs=3)
    states = [trial.state for trial in run.facts]
    assert states.count("COMPLETE") + states.count("PRUNED") == 120
    assert states.count("PRUNED") > 40 and states.count("FAIL") > 5 and run.replays >= 5
    assert len({trial.arch_hash for trial in run.facts}) == len(run.facts)
    assert len(set(run.trained)) == len(run.trained) == states.count("COMPLETE")
    complete = {trial.trial_number for trial in run.facts if trial.state == "COMPLETE"}
    assert {member.trial_number for member in run.front} <= complete
    assert all(len(trial.rungs) == 3 for trial in run.facts if trial.state == "COMPLETE")
    assert all(1 <= len(trial.rungs) < 3 for trial in run.facts if trial.state == "PRUNED")


def test_costs_at_which_trainings_are_stopped_are_proposed_less() -> None:
    genes = tuple(Gene(f"g{i}", tuple(range(4)), True, "") for i in range(6))
    distributions = {gene.name: IntDistribution(0, 3) for gene in genes}

    def mean_cost(stopped_above: float) -> float:
        """Of ten proposals after 40 trainings, of which those of higher cost were stopped, all but some of the
        first."""
        knowledge = Knowledge(
            genes,
            dict,
            str,
            lambda genotype: 1.0 + sum(genotype.values()),
            lambda genotype: True,
            reference_point=(0.1, 20.0),
        )  # type: ignore[arg-type]
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=EhviSampler(0, knowledge))
        rng = np.random.default_rng(4)
        costs = []
        for number in range(50):
            if number < 40:
                study.enqueue_trial({gene.name: int(rng.integers(4)) for gene in genes})
            trial = study.ask(distributions)
            cost = 1.0 + sum(trial.params.values())
            top1 = 0.3 + 0.03 * cost + 0.01 * rng.standard_normal()
            goes_on = number < 12 or cost <= stopped_above
            trial.set_user_attr(CURVE, [0.2, top1] if goes_on else [0.2])
            trial.set_user_attr(COST, cost)
            study.tell(
                trial, [top1, cost] if goes_on else None, state=TrialState.COMPLETE if goes_on else TrialState.PRUNED
            )
            costs.append(cost)
        return float(np.mean(costs[40:]))

    assert mean_cost(stopped_above=7.0) < 5.0 < mean_cost(stopped_above=99.0)
