"""PriMO of NePS (NePS documentation, "Multi-objective optimization"), without what it is made for.

PriMO begins with cheap trainings and follows priors of experts. Recorded problems have neither, so every training is
whole: the fidelity that it must have leaves one rung. What remains is random search, as many trainings as there are
variables, then Bayesian optimization of a weighted sum whose weights are drawn once.
"""

import neps

from benchmarks.peers.peer import Gene, Levels, Peer, Problem, serve

FIDELITY = "fidelity"
WHOLE = 2
"""Upper bound of the fidelity; from 1, less than a factor of eta = 3, so that there is one rung."""


class Primo(Peer):
    """PriMO, asked and told."""

    def __init__(self, problem: Problem) -> None:
        self._names = problem.names
        parameters = {name: _parameter(gene) for name, gene in zip(problem.names, problem.genes, strict=True)}
        space = neps.SearchSpace({**parameters, FIDELITY: neps.HPOInteger(1, WHOLE, is_fidelity=True)})
        self._neps = neps.AskAndTell(neps.algorithms.primo(space, prior_centers={}))
        self._running: dict[tuple[int, ...], neps.Trial] = {}

    def ask(self) -> Levels:
        trial = self._neps.ask()
        levels = [int(trial.config[name]) for name in self._names]
        self._running[tuple(levels)] = trial
        return levels

    def tell(self, levels: Levels, error_percent: float, log_cost: float) -> None:
        # The next id of a trial is one more than the largest, so an architecture of somebody else cannot be told.
        trial = self._running.pop(tuple(levels), None)
        if trial is not None:
            self._neps.tell(trial, {"objective_to_minimize": [error_percent, log_cost]})


def _parameter(gene: Gene) -> neps.HPOInteger | neps.HPOCategorical:
    if gene.ordered:
        return neps.HPOInteger(0, gene.levels - 1)
    return neps.HPOCategorical(list(range(gene.levels)))


if __name__ == "__main__":
    serve(Primo, "neural-pipeline-search")
