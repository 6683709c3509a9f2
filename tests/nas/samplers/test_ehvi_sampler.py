"""What the sampler takes from Optuna's trials: stopped, passed over and failed ones."""

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState

from nas.records import Gene
from nas.samplers.ehvi import Observations
from nas.samplers.ehvi_sampler import EhviSampler
from nas.samplers.knowledge import COST, CURVE, Knowledge


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

    def propose(seen: Observations, *others: object, **more: object) -> tuple[int, int]:
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


def test_costs_at_which_trainings_are_stopped_are_proposed_less() -> None:
    genes = tuple(Gene(f"g{i}", tuple(range(4)), True, "") for i in range(6))
    distributions = {gene.name: IntDistribution(0, 3) for gene in genes}

    def mean_cost(stopped_above: float) -> float:
        """The mean over ten proposals after 40 trainings, of which those of higher cost were stopped, all but some of
        the first."""
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
