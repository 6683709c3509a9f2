"""SMAC3 with ParEGO over its random forest (SMAC3 documentation, example "ParEGO")."""

from pathlib import Path
from tempfile import TemporaryDirectory

from ConfigSpace import CategoricalHyperparameter, Configuration, ConfigurationSpace, UniformIntegerHyperparameter
from smac import HyperparameterOptimizationFacade, Scenario
from smac.multi_objective.parego import ParEGO
from smac.runhistory import TrialInfo, TrialValue

from benchmarks.peers.peer import Gene, Levels, Peer, Problem, serve


class Smac(Peer):
    """The facade for hyperparameters, asked and told."""

    def __init__(self, problem: Problem) -> None:
        self._names = problem.names
        self._space = ConfigurationSpace(seed=problem.seed)
        for name, gene in zip(problem.names, problem.genes, strict=True):
            self._space.add(_parameter(name, gene))
        self._folder = TemporaryDirectory()
        scenario = Scenario(
            self._space,
            output_directory=Path(self._folder.name),
            objectives=["error", "log_cost"],
            deterministic=True,
            n_trials=problem.budget,
            seed=problem.seed,
        )
        self._smac = HyperparameterOptimizationFacade(
            scenario, _never_called, multi_objective_algorithm=ParEGO(scenario), overwrite=True
        )

    def ask(self) -> Levels:
        self._asked = self._smac.ask()
        return [int(self._asked.config[name]) for name in self._names]

    def tell(self, levels: Levels, error_percent: float, log_cost: float) -> None:
        config = Configuration(self._space, values=dict(zip(self._names, levels, strict=True)))
        # Without noise all trainings have one seed; told another, SMAC3 would wait for the one that it asked for.
        self._smac.tell(
            TrialInfo(config, seed=self._asked.seed), TrialValue(cost=[error_percent, log_cost]), save=False
        )


def _parameter(name: str, gene: Gene) -> UniformIntegerHyperparameter | CategoricalHyperparameter:
    if gene.ordered:
        return UniformIntegerHyperparameter(name, 0, gene.levels - 1)
    return CategoricalHyperparameter(name, list(range(gene.levels)))


def _never_called(config: Configuration, seed: int = 0) -> list[float]:
    """SMAC3 wants a target function although trainings are told."""
    raise AssertionError("trainings are told")


if __name__ == "__main__":
    serve(Smac, "smac")
