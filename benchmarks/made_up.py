"""Does the lead of `ehvi` carry over? Samplers side by side on made-up problems that nothing was tuned on.

    OMP_NUM_THREADS=1 python -m benchmarks.made_up --sampler ehvi --sampler tpe --sampler nsga2

Each has the shape of a known kind of space, and constants drawn with --constants: accuracy saturates in what the
network can do, training adds noise, cost is a sum with products in it. The true front is not known; the hypervolume of
a long evolution that may look at everything stands for it, so shares near 1 are rough.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import optuna

from nas.pareto.front import front_rows, hypervolume
from nas.records import Gene
from nas.samplers.acquisition import offspring, random_rows
from nas.surrogates.threads import one_thread
from nas.tabular.bench import Conditions, bench, bench_text
from nas.tabular.recorded import Levels, RecordedProblem

NUM_RANDOM = 2_000
GENERATIONS = 150
NUM_CHILDREN = 400
"""Size of the evolution whose front stands for the true one: generations, and children in each."""

Law = Callable[[Levels], float]


def operations(rng: np.random.Generator) -> tuple[Sequence[int], bool, Law, Law, float]:
    """One of nine operations in each of 22 layers, without an order; two skipped layers in a row lose more than both
    alone."""
    quality = np.sort(rng.gamma(2, 1, (22, 9)), axis=1)
    price = 0.05 + np.abs(
        np.linspace(0, 3, 9) * (1 + 0.25 * rng.standard_normal((22, 9))) * np.linspace(1.6, 0.7, 22)[:, None]
    )
    shuffled = np.argsort(rng.random((22, 9)), axis=1)
    quality, price = (np.take_along_axis(table, shuffled, axis=1) for table in (quality, price))
    skipped = [int(level) for level in shuffled.argmin(axis=1)]

    def accuracy(levels: Levels) -> float:
        gaps = sum(levels[i] == skipped[i] and levels[i + 1] == skipped[i + 1] for i in range(21))
        return float(50 + 28 * (1 - np.exp(-quality[range(22), levels].sum() / 40)) - 0.4 * gaps)

    return [9] * 22, False, accuracy, lambda levels: float(4 + price[range(22), levels].sum()), 0.2


def elastic_depth(rng: np.random.Generator) -> tuple[Sequence[int], bool, Law, Law, float]:
    """Five units of two to four layers with expansion and kernel each; the genes of layers that are left out do
    nothing."""
    worth = rng.uniform(0.5, 1.5, 20)
    by_kernel = rng.uniform(0.05, 0.3, 20)
    size = np.repeat([4, 3, 2, 1.5, 1], 4) * rng.uniform(0.8, 1.2, 20)

    def layers(levels: Levels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        present = np.concatenate([4 * unit + np.arange(2 + levels[unit]) for unit in range(5)])
        return present, np.array(levels[5:25])[present], np.array(levels[25:])[present]

    def accuracy(levels: Levels) -> float:
        present, expansion, kernel = layers(levels)
        return float(
            68 + 11 * (1 - np.exp(-(worth[present] * (1 + 0.8 * expansion + by_kernel[present] * kernel)).sum() / 18))
        )

    def cost(levels: Levels) -> float:
        present, expansion, kernel = layers(levels)
        return float(10 + (size[present] * (1.2 + expansion) * (1 + 0.25 * kernel)).sum())

    return [3] * 45, True, accuracy, cost, 0.1


def channels(rng: np.random.Generator) -> tuple[Sequence[int], bool, Law, Law, float]:
    """Widths of five stages; each gains from its own, a stage narrower than the one before it loses, cost goes with
    products."""
    worth = 9 * rng.uniform(0.4, 1.2, 5)
    share = np.array([9, 4, 2, 1, 0.5])

    def accuracy(levels: Levels) -> float:
        width = 1.0 + np.array(levels)
        return float(90 - (worth / np.sqrt(width)).sum() - 0.8 * np.maximum(0, np.log2(width[:-1] / width[1:])).sum())

    def cost(levels: Levels) -> float:
        width = np.concatenate([[3], 8 * (1.0 + np.array(levels))])
        return float(20 + (share * width[:-1] * width[1:]).sum())

    return [8] * 5, True, accuracy, cost, 0.15


def transformer(rng: np.random.Generator) -> tuple[Sequence[int], bool, Law, Law, float]:
    """Depth and width of a transformer, heads and expansion of each of 10 to 12 blocks."""
    by_heads = rng.uniform(0.3, 1, 12)
    by_ratio = rng.uniform(0.3, 1.2, 12)

    def blocks(levels: Levels) -> tuple[int, float, np.ndarray, np.ndarray]:
        depth = 10 + levels[0]
        return depth, 192 + 24 * levels[1], np.array(levels[2 : 2 + depth]), np.array(levels[14 : 14 + depth])

    def accuracy(levels: Levels) -> float:
        depth, width, heads, ratio = blocks(levels)
        able = (by_heads[:depth] * (1 + 0.5 * heads) + by_ratio[:depth] * (1 + 0.7 * ratio)).sum() * (
            width / 216
        ) ** 0.7
        return float(60 + 15 * (1 - np.exp(-able / 12)))

    def cost(levels: Levels) -> float:
        _, width, heads, ratio = blocks(levels)
        return float(1e-3 * (256 * width * (2 + heads) + 2 * width**2 * (3 + 0.5 * ratio)).sum())

    return [3] * 26, True, accuracy, cost, 0.1


SHAPES = {make.__name__: make for make in (operations, elastic_depth, channels, transformer)}


def make_problem(shape: str, constants: int) -> RecordedProblem:
    """A problem of one shape, its cost known before training.

    Args:
        shape: of SHAPES.
        constants: seed of its constants and of the noise of each training.
    """
    num_levels, is_ordered, law, cost, noise = SHAPES[shape](np.random.default_rng(constants))

    def accuracy(levels: Levels) -> float:
        return law(levels) + noise * float(np.random.default_rng((constants, *levels)).standard_normal())

    accuracy = cache(accuracy)
    cost = cache(cost)
    reference, front = evolved(num_levels, accuracy, cost)
    genes = tuple(Gene(f"g{i}", tuple(range(levels)), is_ordered, f"g{i}") for i, levels in enumerate(num_levels))
    return RecordedProblem(shape, genes, accuracy, cost, cost, reference, front)


def evolved(num_levels: Sequence[int], accuracy: Law, cost: Law) -> tuple[tuple[float, float], float]:
    """The reference point, median accuracy and 0.99 quantile of cost of random rows, and the hypervolume of an evolved
    front."""
    rng = np.random.default_rng(0)
    counts = np.array(num_levels)
    rows = random_rows(NUM_RANDOM, counts, rng)
    points = np.array([(accuracy(row), cost(row)) for row in map(tuple, rows.tolist())])
    reference = float(np.median(points[:, 0])), float(np.quantile(points[:, 1], 0.99))
    for _ in range(GENERATIONS):
        front = front_rows(points[:, 0], np.log(points[:, 1]))
        children = offspring(rows[front], NUM_CHILDREN, counts, rng)
        rows = np.vstack([rows[front], children])
        points = np.vstack([points[front], [(accuracy(row), cost(row)) for row in map(tuple, children.tolist())]])
    return reference, hypervolume([(float(a), float(c)) for a, c in points], reference)


def main() -> None:
    """Print a table for each problem."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--sampler", action="append", required=True)
    parser.add_argument("--shape", action="append", choices=SHAPES, help="all by default")
    parser.add_argument("--constants", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    conditions = Conditions(
        seeds=options.seeds, budget=options.budget, workers=options.workers, failure_rate=0.0, rungs=1, replay=True
    )
    for shape in options.shape or SHAPES:
        with one_thread():
            problem = make_problem(shape, options.constants)
            results = [bench(problem, sampler, conditions) for sampler in options.sampler]
        print(bench_text(problem, results, conditions), flush=True)


if __name__ == "__main__":
    main()
