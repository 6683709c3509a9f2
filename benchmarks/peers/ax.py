"""Ax with its defaults for several objectives (Ax documentation, "Multi-objective optimization"): the center of the
space and Sobol points first, then BoTorch's qLogNEHVI over a Gaussian process.

    python -m benchmarks.peers.ax told|inferred

The documentation prefers thresholds of the objectives where they are known: `told` gives it the reference point. By
default Ax infers them.
"""

import argparse

from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

from benchmarks.peers.peer import Gene, Levels, Peer, Problem, serve


class Ax(Peer):
    """A client whose trials end one by one."""

    def __init__(self, problem: Problem, is_told: bool) -> None:
        self._names = problem.names
        self._client = Client(random_seed=problem.seed)
        self._client.configure_experiment(
            [_parameter(name, gene) for name, gene in zip(problem.names, problem.genes, strict=True)]
        )
        error_percent, log_cost = problem.reference_point
        thresholds = [f"error <= {error_percent}", f"log_cost <= {log_cost}"]
        self._client.configure_optimization("-error, -log_cost", thresholds if is_told else None)
        self._client.configure_generation_strategy(initialization_random_seed=problem.seed)
        self._running: dict[tuple[int, ...], int] = {}

    def ask(self) -> Levels:
        [(trial, parameters)] = self._client.get_next_trials(1).items()
        levels = [int(parameters[name]) for name in self._names]
        self._running[tuple(levels)] = trial
        return levels

    def tell(self, levels: Levels, error_percent: float, log_cost: float) -> None:
        trial = self._running.pop(tuple(levels), None)
        if trial is None:
            trial = self._client.attach_trial(dict(zip(self._names, levels, strict=True)))
        self._client.complete_trial(trial, {"error": error_percent, "log_cost": log_cost})


def _parameter(name: str, gene: Gene) -> RangeParameterConfig | ChoiceParameterConfig:
    if gene.ordered:
        return RangeParameterConfig(name, (0, gene.levels - 1), "int")
    return ChoiceParameterConfig(name, list(range(gene.levels)), "int", is_ordered=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("thresholds", choices=("told", "inferred"))
    is_told = parser.parse_args().thresholds == "told"
    serve(lambda problem: Ax(problem, is_told), "ax-platform")
