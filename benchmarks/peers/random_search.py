"""Random search as a peer: the smallest example of the protocol, and what its tests run."""

import random

from benchmarks.peers.peer import Levels, Peer, Problem, serve


class RandomSearch(Peer):
    """Every architecture is equally likely at every ask."""

    def __init__(self, problem: Problem) -> None:
        self._genes = problem.genes
        self._rng = random.Random(problem.seed)

    def ask(self) -> Levels:
        return [self._rng.randrange(gene.levels) for gene in self._genes]

    def tell(self, levels: Levels, error_percent: float, log_cost: float) -> None:
        """Learn nothing."""


if __name__ == "__main__":
    serve(RandomSearch, "pip")
