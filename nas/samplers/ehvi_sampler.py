"""The sampler `ehvi` as Optuna sees it: trials become rows of levels, and the searcher's row becomes a genotype."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.records import Genotype
from nas.samplers.ehvi import MAX_CACHED, MIN_ERROR, EhviSearcher, Observations, Timings
from nas.samplers.knowledge import COST, CURVE, Knowledge
from nas.surrogates.curves import Curve, Extrapolator, finished_per_training
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder, Surrogate
from nas.surrogates.genes import GeneLevels, Row
from nas.surrogates.threads import one_thread

Outcome = tuple[Row, FrozenTrial]
"""An architecture and the trial that says what became of it."""


class EhviSampler(BaseSampler):
    """Expected hypervolume improvement at known or modelled cost (nas/samplers/ehvi.py).

    For one study with two objectives: top1, which is maximised, and a cost, which is minimised.
    """

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
        self._searcher = EhviSearcher(
            num_levels,
            ordered,
            log_cost,
            math.log(knowledge.max_cost),
            None if reference is None else (reference[0], math.log(reference[1])),
            self._levels.canonical,
            surrogate,
            knowledge.scores,
        )
        self._extrapolate = Extrapolator(GeneEncoder.of(num_levels, ordered))
        self._repaired: dict[Row, Row] = {}
        self._identities: dict[Row, str] = {}
        self._architectures: dict[int, tuple[Row, str]] = {}

    @property
    def trusted(self) -> str | None:
        """Label of the score around which top1 is predicted; None while no score is trusted."""
        place = self._searcher.trusted
        return None if place is None else self._knowledge.scores[place].label

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
        outcomes = self._outcomes(trials)

        def excluded(row: Row) -> bool:
            # What is not valid would become another architecture than the surrogate judged.
            return (
                self._repair(row) != row
                or self._identity(row) in outcomes
                or not self._knowledge.feasible(self._levels.genotype(row))
            )

        known = list(outcomes.values())
        with one_thread():
            seen = self._observations(known)
            num_stopped = sum(_was_stopped(trial) for _, trial in known)
            return self._searcher.propose(
                seen,
                self._rows_in(TrialState.RUNNING, known),
                self._rows_in(TrialState.FAIL, known),
                self._repair,
                excluded,
                self._rng,
                num_unknown=num_stopped - int(np.count_nonzero(seen.sd_N)),
                worth=self._worth(known),
                timed=self._timings(known),
            )

    def _outcomes(self, trials: Sequence[FrozenTrial]) -> dict[str, Outcome]:
        """What became of each architecture, by its identity."""
        outcomes: dict[str, Outcome] = {}
        for trial in trials:
            row, identity = self._architecture(trial)
            _, known = outcomes.setdefault(identity, (row, trial))
            # Where nothing else was left, what was passed over is trained all the same.
            if _was_passed_over(known) and not _was_passed_over(trial):
                outcomes[identity] = row, trial
        return outcomes

    def _rows_in(self, state: TrialState, outcomes: Sequence[Outcome]) -> np.ndarray:
        """(num_trials, num_genes) int: the rows of the trials in this state."""
        return self._levels.matrix([row for row, trial in outcomes if trial.state == state])

    def _timings(self, outcomes: Sequence[Outcome]) -> Timings:
        """Costs of what was rejected or failed after it was timed."""
        ended = [
            (row, trial)
            for row, trial in outcomes
            if COST in trial.user_attrs and (trial.state == TrialState.FAIL or _was_passed_over(trial))
        ]
        return Timings(
            self._levels.matrix([row for row, _ in ended]), np.log([trial.user_attrs[COST] for _, trial in ended])
        )

    @staticmethod
    def _worth(outcomes: Sequence[Outcome]) -> Callable[[np.ndarray], np.ndarray]:
        """(num_candidates,) ln cost -> factor of the growth that is expected of them: 1 where nothing is stopped."""
        trained = [
            (row, trial) for row, trial in outcomes if CURVE in trial.user_attrs and trial.state != TrialState.FAIL
        ]
        if not any(_was_stopped(trial) for _, trial in trained):
            return np.ones_like
        trainings = [_curve(row, trial) for row, trial in trained]
        return lambda log_cost_N: finished_per_training(log_cost_N, trainings)

    def _observations(self, outcomes: Sequence[Outcome]) -> Observations:
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
        """What is the same for all repaired rows of one architecture."""
        if row not in self._identities:
            self._identities[row] = self._knowledge.identity(self._levels.genotype(row))
        return self._identities[row]


def _curve(row: Row, trial: FrozenTrial) -> Curve:
    return Curve(row, math.log(trial.user_attrs[COST]), trial.user_attrs[CURVE])


def _was_stopped(trial: FrozenTrial) -> bool:
    """Whether its training was stopped at a rung; what was rejected before training is pruned too."""
    return trial.state == TrialState.PRUNED and CURVE in trial.user_attrs


def _was_passed_over(trial: FrozenTrial) -> bool:
    """Whether it was pruned before any training."""
    return trial.state == TrialState.PRUNED and CURVE not in trial.user_attrs
