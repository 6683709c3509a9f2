"""Samplers by name. They see an in-memory study; the recorded one never asks them anything."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.errors import InvalidInputError
from nas.records import Gene, Genotype
from nas.samplers.ehvi import (
    MAX_CACHED,
    MAX_ROWS,
    MIN_ERROR,
    MIN_FINISHED,
    RANDOM_TRAININGS,
    EhviSearcher,
    Observations,
    Timings,
)
from nas.surrogates.curves import Curve, Extrapolator, finished_per_training
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder, Surrogate
from nas.surrogates.gene_model import GeneModel
from nas.surrogates.genes import GeneLevels, Row
from nas.surrogates.threads import one_thread
from nas.surrogates.transfer import Transferred

CURVE = "curve"
COST = "cost"
"""User attributes of the sampler's trials: top1 at each rung that was reached, and the cost objective."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a sampler may know of a space before anything is trained."""

    genes: tuple[Gene, ...]
    repair: Callable[[Genotype], Genotype]
    """The nearest valid genotype."""
    identity: Callable[[Genotype], str]
    """Of a valid genotype: the same for all of the same architecture."""
    cost: Callable[[Genotype], float] | None
    """The cost objective before training; None when it must be measured."""
    feasible: Callable[[Genotype], bool]
    """Within the hard limits that are known before training."""
    max_cost: float = math.inf
    """Hard limit on the cost objective."""
    reference_point: tuple[float, float] | None = None
    """(top1, cost) of the study; None lets the sampler choose one."""
    earlier: tuple[tuple[Genotype, float], ...] = ()
    """(genotype, top1) of an earlier study on the same space."""


class EhviSampler(BaseSampler):
    """Expected hypervolume improvement at known or modelled cost; see nas/samplers/ehvi.py. For one study of (top1
    maximised, cost minimised)."""

    def __init__(
        self, seed: int, knowledge: Knowledge, surrogate: Callable[[GeneEncoder], Surrogate] = GaussianProcess
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._knowledge = knowledge
        genes = knowledge.genes
        num_levels = [len(gene.values) for gene in genes]
        ordered = [gene.ordered for gene in genes]
        self._levels = GeneLevels(genes)
        cost = knowledge.cost
        log_cost = None if cost is None else lambda row: math.log(cost(self._levels.genotype(row)))
        reference = knowledge.reference_point
        is_informed = len(knowledge.earlier) >= MIN_FINISHED
        self._searcher = EhviSearcher(
            num_levels,
            ordered,
            log_cost,
            math.log(knowledge.max_cost),
            None if reference is None else (reference[0], math.log(reference[1])),
            self._levels.canonical,
            self._informed(surrogate) if is_informed else surrogate,
            MIN_FINISHED if is_informed else RANDOM_TRAININGS,
        )
        self._extrapolate = Extrapolator(GeneEncoder.of(num_levels, ordered))
        self._repaired: dict[Row, Row] = {}
        self._identities: dict[Row, str] = {}
        self._architectures: dict[int, tuple[Row, str]] = {}

    def _informed(self, surrogate: Callable[[GeneEncoder], Surrogate]) -> Callable[[GeneEncoder], Surrogate]:
        """The same, of what differs from the earlier study."""

        def make(encoder: GeneEncoder) -> Surrogate:
            scores = self._knowledge.earlier
            chosen = [scores[i] for i in self._rng.permutation(len(scores))[:MAX_ROWS]]
            rows = self._levels.rows([genotype for genotype, _ in chosen])
            with one_thread():
                model = GeneModel(self._knowledge.genes).fit(rows, np.array([top1 for _, top1 in chosen]))
            return Transferred(surrogate(encoder), model.mean)

        return make

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: the distributions come with the ask."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Decide on all genes at once, from the finished and the running trials."""
        if trial.system_attrs.get("fixed_params"):
            self._proposed: Genotype = {}
            return
        trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number and other.params]
        self._proposed = self._levels.genotype(self._propose(trials))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The gene's value in the proposal; for a gene that an enqueued genotype leaves open, any value."""
        if param_name in self._proposed:
            return self._proposed[param_name]
        values = next(gene.values for gene in self._knowledge.genes if gene.name == param_name)
        return values[int(self._rng.integers(len(values)))]

    def _propose(self, trials: Sequence[FrozenTrial]) -> Row:
        for cache in (self._repaired, self._identities):
            if len(cache) > MAX_CACHED:
                cache.clear()
        outcomes: dict[str, tuple[Row, FrozenTrial]] = {}
        for trial in trials:
            row, identity = self._architecture(trial)
            known = outcomes.setdefault(identity, (row, trial))
            if _was_passed_over(known[1]) and not _was_passed_over(
                trial
            ):  # and trained all the same, where nothing else was left
                outcomes[identity] = row, trial
        running, failed = (
            self._levels.matrix([row for row, trial in outcomes.values() if trial.state == state])
            for state in (TrialState.RUNNING, TrialState.FAIL)
        )

        def excluded(row: Row) -> bool:
            # What is not valid would become another architecture than the surrogate judged.
            return (
                self._repair(row) != row
                or self._identity(row) in outcomes
                or not self._knowledge.feasible(self._levels.genotype(row))
            )

        with one_thread():
            seen = self._observations(list(outcomes.values()))
            num_unknown = sum(map(_was_stopped, (trial for _, trial in outcomes.values()))) - int(
                np.count_nonzero(seen.sd_N)
            )
            trained = [
                (row, trial)
                for row, trial in outcomes.values()
                if CURVE in trial.user_attrs and trial.state != TrialState.FAIL
            ]
            worth = self._worth(trained)
            timed = self._timings([(row, trial) for row, trial in outcomes.values() if COST in trial.user_attrs])
            return self._searcher.propose(
                seen, running, failed, self._repair, excluded, self._rng, num_unknown, worth, timed
            )

    def _timings(self, outcomes: Sequence[tuple[Row, FrozenTrial]]) -> Timings:
        """Of what was rejected or failed after it was timed."""
        ended = [(row, trial) for row, trial in outcomes if trial.state == TrialState.FAIL or _was_passed_over(trial)]
        return Timings(
            self._levels.matrix([row for row, _ in ended]), np.log([trial.user_attrs[COST] for _, trial in ended])
        )

    @staticmethod
    def _worth(outcomes: Sequence[tuple[Row, FrozenTrial]]) -> Callable[[np.ndarray], np.ndarray]:
        """Of a candidate by its ln cost: 1 where nothing is stopped."""
        if not any(_was_stopped(trial) for _, trial in outcomes):
            return np.ones_like
        trainings = [_curve(row, trial) for row, trial in outcomes]
        return lambda log_cost_N: finished_per_training(log_cost_N, trainings)

    def _observations(self, outcomes: Sequence[tuple[Row, FrozenTrial]]) -> Observations:
        """What finished trainings gave and what stopped ones tell of their end."""
        complete = [(row, trial) for row, trial in outcomes if trial.state == TrialState.COMPLETE]
        stopped = [(row, trial) for row, trial in outcomes if _was_stopped(trial)]
        finished = [_curve(row, trial) for row, trial in complete if CURVE in trial.user_attrs]
        value, sd = self._extrapolate(finished, [_curve(row, trial) for row, trial in stopped])
        top1 = np.concatenate([[trial.values[0] for _, trial in complete], value])
        cost = [trial.values[1] for _, trial in complete] + [trial.user_attrs[COST] for _, trial in stopped]
        rows = self._levels.matrix([row for row, _ in (*complete, *stopped)])
        seen = Observations(
            rows, top1, np.log(cost), np.concatenate([np.zeros(len(complete)), np.maximum(sd, MIN_ERROR)])
        )
        return seen[np.isfinite(top1)]

    def _architecture(self, trial: FrozenTrial) -> tuple[Row, str]:
        """Repaired row and identity of a trial, kept for the asks to come: they look at every trial."""
        if trial.number not in self._architectures:
            row = self._repair(self._levels.row(trial.params))
            self._architectures[trial.number] = row, self._identity(row)
        return self._architectures[trial.number]

    def _repair(self, row: Row) -> Row:
        """Canonical row of the nearest valid genotype."""
        if row not in self._repaired:
            genotype = self._knowledge.repair(self._levels.genotype(row))
            canonical = self._levels.canonical(self._levels.rows([genotype]))[0]
            self._repaired[row] = tuple(canonical.tolist())
        return self._repaired[row]

    def _identity(self, row: Row) -> str:
        """Of a repaired row: the same for all of the same architecture."""
        if row not in self._identities:
            self._identities[row] = self._knowledge.identity(self._levels.genotype(row))
        return self._identities[row]


def _curve(row: Row, trial: FrozenTrial) -> Curve:
    return Curve(row, math.log(trial.user_attrs[COST]), trial.user_attrs[CURVE])


def _was_stopped(trial: FrozenTrial) -> bool:
    """At a rung; what was rejected before training is pruned too."""
    return trial.state == TrialState.PRUNED and CURVE in trial.user_attrs


def _was_passed_over(trial: FrozenTrial) -> bool:
    """Pruned before any training."""
    return trial.state == TrialState.PRUNED and CURVE not in trial.user_attrs


# NSGA-II's default population of 50 makes a quarter of a 200-trial budget random; 20 is what a small budget bears.
SAMPLERS: dict[str, Callable[[int, Knowledge], BaseSampler]] = {
    "random": lambda seed, _: RandomSampler(seed=seed),
    "nsga2": lambda seed, _: NSGAIISampler(seed=seed, population_size=20),
    "tpe": lambda seed, _: TPESampler(seed=seed, multivariate=False),
    "tpe_multivariate": lambda seed, _: TPESampler(seed=seed, multivariate=True),
    "gp": lambda seed, _: GPSampler(seed=seed),
    "ehvi": EhviSampler,
}


def check_sampler(name: str) -> None:
    """Refuse an unknown name.

    Raises:
        InvalidInputError: if there is no such sampler; the message lists the known ones.
    """
    if name not in SAMPLERS:
        raise InvalidInputError(f"unknown sampler {name!r}; expected one of {', '.join(SAMPLERS)}")


def make_sampler(name: str, seed: int, knowledge: Knowledge) -> BaseSampler:
    """Make the sampler `name`, seeded.

    Raises:
        InvalidInputError: if there is no such sampler; the message lists the known ones.
    """
    check_sampler(name)
    return SAMPLERS[name](seed, knowledge)
