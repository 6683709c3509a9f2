"""NSGA-II of pymoo, with its operators for mixed variables (pymoo documentation, "Mixed Variable Problem").

The population has 20 members, as in that chapter and as Optuna's has here; the default of 100 would be random search at
these budgets.
"""

from pymoo.algorithms.moo.nsga2 import NSGA2, binary_tournament
from pymoo.core.individual import Individual
from pymoo.core.mixed import MixedVariableDuplicateElimination, MixedVariableMating, MixedVariableSampling
from pymoo.core.population import Population
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.termination import NoTermination
from pymoo.core.variable import Choice, Integer
from pymoo.operators.selection.tournament import TournamentSelection

from benchmarks.peers.peer import Gene, Levels, Peer, Problem, serve

POPULATION = 20


class Nsga2(Peer):
    """Members of a generation are asked for one by one; the next generation follows the last result."""

    def __init__(self, problem: Problem) -> None:
        variables = dict(zip(problem.names, map(_variable, problem.genes), strict=True))
        distinct = MixedVariableDuplicateElimination()
        tournament = TournamentSelection(func_comp=binary_tournament)
        self._names = problem.names
        self._algorithm = NSGA2(
            POPULATION,
            sampling=MixedVariableSampling(),
            mating=MixedVariableMating(selection=tournament, eliminate_duplicates=distinct),
            eliminate_duplicates=distinct,
        )
        self._algorithm.setup(
            PymooProblem(vars=variables, n_obj=2), termination=NoTermination(), seed=problem.seed, verbose=False
        )
        self._generation: list[Individual] = []
        self._told = 0

    def ask(self) -> Levels:
        if self._told == len(self._generation):
            self._generation = list(self._algorithm.ask())
            self._told = 0
        return self._levels(self._generation[self._told])

    def tell(self, levels: Levels, error_percent: float, log_cost: float) -> None:
        member = self._generation[self._told] if self._told < len(self._generation) else None
        # A generation takes in nothing but its own members.
        if member is None or self._levels(member) != levels:
            return
        member.set("F", [error_percent, log_cost])
        self._told += 1
        if self._told == len(self._generation):
            self._algorithm.tell(infills=Population.create(*self._generation))

    def _levels(self, member: Individual) -> Levels:
        return [int(member.X[name]) for name in self._names]


def _variable(gene: Gene) -> Choice | Integer:
    if gene.ordered:
        return Integer(bounds=(0, gene.levels - 1))
    return Choice(options=list(range(gene.levels)))


if __name__ == "__main__":
    serve(Nsga2, "pymoo")
