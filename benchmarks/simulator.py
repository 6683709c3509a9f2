"""Search any recorded problem with the defaults of the `ehvi` sampler; `launch.py bench` compares samplers on those that have a name."""

from collections.abc import Callable

from nas.recorded import Levels, RecordedProblem
from nas.records import Gene
from nas.simulator import simulate


def run_problem(
    genes: list[tuple[str, int, str]],
    train: Callable[[Levels], float],
    cost: Callable[[Levels], float | None],
    seed: int,
    budget: int,
) -> list[tuple[float, float]]:
    """Search a recorded problem with the defaults of `ehvi`, serially.

    Args:
        genes: (name, number of levels, "cat" or "int").
        train: level indices -> accuracy in percent; called once for each architecture.
        cost: level indices -> cost > 0, or None while that architecture is untrained and its cost only known after training.

    Returns:
        (accuracy in percent, cost) in the order of training.
    """
    trained: dict[Levels, float] = {}

    def accuracy(levels: Levels) -> float:
        if levels not in trained:
            trained[levels] = float(train(levels))
        return trained[levels]

    def cost_after_training(levels: Levels) -> float:
        accuracy(levels)
        value = cost(levels)
        assert value is not None, "the cost of a trained architecture is known"
        return float(value)

    def cost_before(levels: Levels) -> float:
        value = cost(levels)
        assert value is not None, "the cost is known for every architecture or for none"
        return float(value)

    is_known = cost((0,) * len(genes)) is not None
    problem = RecordedProblem(
        "given", tuple(Gene(name, tuple(range(levels)), kind == "int", name) for name, levels, kind in genes), accuracy,
        cost_after_training, cost_before if is_known else None,
    )  # fmt: skip
    return list(simulate(problem, "ehvi", seed, budget).points)
