"""Search any recorded problem with the defaults of the `ehvi` sampler; `launch.py bench` compares samplers on those
that have a name."""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from nas.errors import InvalidInputError
from nas.records import Gene
from nas.tabular.recorded import Levels, RecordedProblem, RecordedScore
from nas.tabular.simulator import simulate

PROBES = 100
"""Random architectures whose costs are asked for, to see whether costs are known before training."""


def run_problem(
    genes: list[tuple[str, int, str]],
    train: Callable[[Levels], float],
    cost: Callable[[Levels], float | None],
    seed: int,
    budget: int,
    score: Callable[[Levels], float | None] | None = None,
) -> list[tuple[float, float]]:
    """Search a recorded problem with the defaults of `ehvi`, serially.

    Args:
        genes: (name, number of levels, "cat" or "int").
        train: level indices -> accuracy in percent; called once for each architecture.
        cost: level indices -> cost > 0, or None while that architecture is untrained and its cost only known after
            training. What it tells of some untrained architectures and not of others is not used.
        score: level indices -> a finite number that may rank architectures as training does, or None where nothing is
            known; called at most once for each. It guides the search as far as it proves true.

    Returns:
        (accuracy in percent, cost) in the order of training.

    Raises:
        InvalidInputError: if the genes are none, or a cost or a score is none that can be searched with.
    """
    _check(genes)
    trained: dict[Levels, float] = {}

    def accuracy(levels: Levels) -> float:
        if levels not in trained:
            trained[levels] = float(train(levels))
        return trained[levels]

    def cost_before(levels: Levels) -> float:
        return _positive(cost(levels), levels)

    def cost_after_training(levels: Levels) -> float:
        accuracy(levels)
        return cost_before(levels)

    num_levels = [count for _, count, _ in genes]
    is_known = all(cost(levels) is not None for levels in _probes(num_levels))
    problem = RecordedProblem(
        "given",
        tuple(Gene(name, tuple(range(levels)), kind == "int", name) for name, levels, kind in genes),
        accuracy,
        cost_after_training,
        cost_before if is_known else None,
    )
    scores = () if score is None else (RecordedScore("given", cache(partial(_known_or_nan, score))),)
    return list(simulate(problem, "ehvi", seed, budget, scores=scores).points)


def _check(genes: Sequence[tuple[str, int, str]]) -> None:
    expected = "expected (name, number of levels >= 1, 'cat' or 'int')"
    if not genes:
        raise InvalidInputError(f"there are no genes; {expected} for each of one or more")
    for gene in genes:
        if gene[1] < 1 or gene[2] not in ("cat", "int"):
            raise InvalidInputError(f"the gene {gene} cannot be searched; {expected}")
    if len({name for name, _, _ in genes}) < len(genes):
        raise InvalidInputError(f"two genes have one name: {[name for name, _, _ in genes]}")


def _probes(num_levels: Sequence[int]) -> list[Levels]:
    """The architecture of all first levels, the one of all last, and random ones."""
    ends = [[0] * len(num_levels), [count - 1 for count in num_levels]]
    drawn = np.random.default_rng(0).integers(0, num_levels, (PROBES, len(num_levels)))
    return [tuple(levels) for levels in (*ends, *drawn.tolist())]


def _positive(cost: float | None, levels: Levels) -> float:
    if cost is None:
        raise InvalidInputError(
            f"the cost of {levels} is None; expected a number once it is trained, or of every architecture before"
        )
    if not (math.isfinite(cost) and cost > 0):
        raise InvalidInputError(f"the cost of {levels} is {cost}; expected a finite number > 0")
    return float(cost)


def _known_or_nan(score: Callable[[Levels], float | None], levels: Levels) -> float:
    value = score(levels)
    if value is None:
        return math.nan
    if not math.isfinite(value):
        raise InvalidInputError(f"the score of {levels} is {value}; expected a finite number, or None if it is unknown")
    return float(value)
