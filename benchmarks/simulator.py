"""Samplers on recorded problems: normalised hypervolume against trainings, distinct architectures, time per ask.

    python -m benchmarks.simulator --data FOLDER --problem macro --sampler ehvi --sampler random [--cost modelled] [--workers 8]

`run_problem` takes any other recorded problem, with the defaults of the `ehvi` sampler.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nas.front import hypervolume
from nas.problems import PROBLEMS, open_problem
from nas.recorded import Levels, RecordedProblem
from nas.records import Gene
from nas.sampler import SAMPLERS
from nas.simulator import Simulation, simulate

CHECKPOINTS = (25, 50, 100, 200)


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


def curve(problem: RecordedProblem, simulation: Simulation) -> list[float]:
    """Normalised hypervolume at each checkpoint."""
    return [hypervolume(simulation.points[:n], problem.reference_point) / problem.front_hypervolume for n in CHECKPOINTS]


def main() -> None:
    """Print one row per sampler: median and quartiles over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("tabular"), help="folder of the recorded results")
    parser.add_argument("--problem", choices=PROBLEMS, required=True)
    parser.add_argument("--sampler", choices=[*SAMPLERS], action="append", required=True)
    parser.add_argument("--cost", choices=["known", "modelled"], default="known")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--failures", type=float, default=0.0, help="share of the evaluations that fail")
    parser.add_argument("--no-replay", action="store_true", help="train repeats again")
    options = parser.parse_args()
    problem = open_problem(options.problem, options.data, options.cost == "known")
    print(f"{options.problem}, cost {options.cost}, {options.workers} workers, {options.seeds} seeds: median [quartiles] at {CHECKPOINTS}")
    for sampler in options.sampler:
        runs = [
            simulate(problem, sampler, seed, options.budget, workers=options.workers, failure_rate=options.failures,
                     replay=not options.no_replay)
            for seed in range(options.seeds)
        ]  # fmt: skip
        low, median, high = np.quantile([curve(problem, run) for run in runs], [0.25, 0.5, 0.75], axis=0)
        cells = "  ".join(f"{m:.3f} [{a:.3f} {b:.3f}]" for a, m, b in zip(low, median, high, strict=True))
        distinct = np.median([len(set(run.trained)) for run in runs])
        ask_ms = 1000 * np.quantile(np.concatenate([run.ask_s for run in runs]), [0.5, 0.95])
        print(f"{sampler:<17} {cells}  distinct {distinct:.0f}  ask {ask_ms[0]:.0f} ms, 95 % within {ask_ms[1]:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
