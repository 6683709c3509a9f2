"""Searches for several objectives of Syne Tune (Syne Tune documentation, "Multi-objective optimization").

    python -m benchmarks.peers.syne_tune ehvi|morea

`ehvi` is expected hypervolume improvement over BoTorch's Gaussian process, `morea` multi-objective regularized
evolution. The population of the latter has 20 members; with the default of 100 a search of 100 is random.
"""

import argparse

from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, randint
from syne_tune.optimizer.baselines import EHVI
from syne_tune.optimizer.scheduler import TrialScheduler
from syne_tune.optimizer.schedulers.ask_tell_scheduler import AskTellScheduler
from syne_tune.optimizer.schedulers.multiobjective import MultiObjectiveRegularizedEvolution
from syne_tune.optimizer.schedulers.single_fidelity_scheduler import SingleFidelityScheduler

from benchmarks.peers.peer import Gene, Levels, Peer, Problem, serve

METRICS = ["error", "log_cost"]
POPULATION = 20
REFERENCE = -2.0
"""The reference point of EHVI in both metrics, which cannot be set: metrics are shifted to it."""

Domain = object
"""What Syne Tune calls the values of a variable."""


class SyneTune(Peer):
    """A scheduler whose trials end one by one."""

    def __init__(self, problem: Problem, method: str) -> None:
        self._names = problem.names
        self._reference_point = problem.reference_point
        space = {name: _domain(gene) for name, gene in zip(problem.names, problem.genes, strict=True)}
        make = ehvi if method == "ehvi" else morea
        self._scheduler = AskTellScheduler(make(space, problem.seed))
        self._running: Trial | None = None

    def ask(self) -> Levels:
        self._running = self._scheduler.ask()
        return self._levels(self._running)

    def tell(self, levels: Levels, error_percent: float, log_cost: float) -> None:
        # A scheduler knows only trials that it suggested.
        if self._running is None or self._levels(self._running) != levels:
            return
        pairs = zip(METRICS, (error_percent, log_cost), self._reference_point, strict=True)
        self._scheduler.tell(self._running, {name: value - worst + REFERENCE for name, value, worst in pairs})
        self._running = None

    def _levels(self, trial: Trial) -> Levels:
        return [int(trial.config[name]) for name in self._names]


def ehvi(space: dict[str, Domain], seed: int) -> TrialScheduler:
    """The scheduler EHVI, by its defaults."""
    return EHVI(space, METRICS, do_minimize=True, random_seed=seed)


def morea(space: dict[str, Domain], seed: int) -> TrialScheduler:
    """Regularized evolution by non-dominated sorting."""
    searcher = MultiObjectiveRegularizedEvolution(space, population_size=POPULATION, random_seed=seed)
    return SingleFidelityScheduler(space, METRICS, do_minimize=True, searcher=searcher, random_seed=seed)


def _domain(gene: Gene) -> Domain:
    return randint(0, gene.levels - 1) if gene.ordered else choice(list(range(gene.levels)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=("ehvi", "morea"))
    given = parser.parse_args().method
    serve(lambda problem: SyneTune(problem, given), "syne-tune")
