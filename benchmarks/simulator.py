"""Search any recorded problem with the defaults of the `ehvi` sampler; `launch.py bench` compares samplers on those
that have a name."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

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
        train: level indices -> accuracy in percent, or NaN where the training fails, which does not count towards the
            budget; called once for each architecture.
        cost: level indices -> cost > 0, or None while that architecture is untrained and its cost only known after
            training. What it tells of some untrained architectures and not of others is not used.
        score: level indices -> a finite number that may rank architectures as training does, or None where nothing is
            known; called at most once for each. It guides the search as far as it proves true.

    Returns:
        (accuracy in percent, cost) in the order of training.

    Raises:
        InvalidInputError: if the genes are none, or an accuracy, a cost or a score is none that can be searched with.
        SearchAbortedError: if most trainings fail.
    """
    _check(genes)
    trained: dict[Levels, float] = {}

    def accuracy(levels: Levels) -> float:
        if levels not in trained:
            trained[levels] = _accuracy(train(levels), levels)
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
    scores = () if score is None else (RecordedScore("given", partial(map, partial(_known_or_nan, score))),)
    return list(simulate(problem, "ehvi", seed, budget, scores=scores).points)


def _check(genes: Sequence[tuple[str, int, str]]) -> None:
    expected = "expected (name, number of levels >= 1, 'cat' or 'int')"
    if not genes:
        raise InvalidInputError(f"there are no genes; {expected} for each of one or more")
    for gene in genes:
        if not _is_gene(gene):
            raise InvalidInputError(f"the gene {gene} cannot be searched; {expected}")
    if len({name for name, _, _ in genes}) < len(genes):
        raise InvalidInputError(f"two genes have one name: {[name for name, _, _ in genes]}")


def _probes(num_levels: Sequence[int]) -> list[Levels]:
    """The architecture of all first levels, the one of all last, and random ones."""
    ends = [[0] * len(num_levels), [count - 1 for count in num_levels]]
    drawn = np.random.default_rng(0).integers(0, num_levels, (PROBES, len(num_levels)))
    return [tuple(levels) for levels in (*ends, *drawn.tolist())]


def _is_gene(gene: tuple[str, int, str]) -> bool:
    if len(gene) != 3:
        return False
    name, levels, kind = gene
    return isinstance(name, str) and isinstance(levels, int | np.integer) and levels >= 1 and kind in ("cat", "int")


def _accuracy(given: Any, levels: Levels) -> float:
    number = _number(given)
    if math.isnan(number) and not isinstance(given, float | np.floating):
        raise InvalidInputError(
            f"the accuracy of {levels} is {given!r:.40}; expected a number in percent, or NaN where the training failed"
        )
    return number


def _positive(cost: float | None, levels: Levels) -> float:
    if cost is None:
        raise InvalidInputError(
            f"the cost of {levels} is None; expected a number once it is trained, or of every architecture before"
        )
    number = _number(cost)
    if not number > 0:
        raise InvalidInputError(f"the cost of {levels} is {cost!r:.40}; expected a finite number > 0")
    return number


def _known_or_nan(score: Callable[[Levels], float | None], levels: Levels) -> float:
    value = score(levels)
    if value is None:
        return math.nan
    number = _number(value)
    if math.isnan(number):
        raise InvalidInputError(
            f"the score of {levels} is {value!r:.40}; expected a finite number, or None if it is unknown"
        )
    return number


def _number(given: Any) -> float:
    """What it is as a float; NaN where it is none, or not finite."""
    try:
        number = math.nan if isinstance(given, str | bytes) else float(given)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan
