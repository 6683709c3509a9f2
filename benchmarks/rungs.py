"""Which training schedule makes the score of an early rung meaningful? The study behind
docs/measurements/search.md.

    python -m benchmarks.rungs --architectures 24

Random architectures are trained by each schedule with the same rungs. Printed are the mean top1 after the last rung,
and for every rung Kendall's tau between its score and that of a full one-cycle training with another seed.
"""

import argparse
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.stats import kendalltau

from nas.protocols import Job, RungReached
from nas.records import JSON
from search_spaces.registry import make_space
from workers.data.registry import open_data
from workers.evaluate import EvaluationContext, evaluate
from workers.evaluation import EvaluationConfig
from workers.recipe import SCHEDULES, Recipe
from workers.training.recipes import default_recipe

JUDGE_SEED = 1000
"""Seed of the training that the rungs are compared with; it shares no luck with them."""


@lru_cache(maxsize=8)
def open_context(data: str, recipe: Recipe) -> EvaluationContext:
    """A context of this process; its locks are private, because nothing is timed here."""
    return EvaluationContext(
        EvaluationConfig(data=data, recipe=recipe, lock_folder=tempfile.mkdtemp(prefix="rungs-locks-"))
    )


def curve(spec: JSON, data: str, recipe: Recipe, seed: int) -> list[float]:
    """top1 at each rung."""
    events = evaluate(Job(0, spec, seed), open_context(data, recipe))
    scores = []
    event = next(events)
    while isinstance(event, RungReached):
        scores.append(event.score.top1)
        if event.last:
            return scores
        event = events.send(True)
    raise RuntimeError(f"a training has no score: {event}")


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--architectures", type=int, default=24)
    parser.add_argument("--rungs", type=int, nargs="+", default=[24, 48, 96], help="optimizer steps")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--space", default="hybrid_layout")
    parser.add_argument("--scale", default="nano")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the draw of architectures")
    options = parser.parse_args()
    source = open_data(options.data)
    space = make_space(options.space, options.scale, source.image_size, source.in_chans, source.num_classes)
    rng = np.random.default_rng(options.seed)
    specs = [space.architecture(space.sample(rng)).to_spec() for _ in range(options.architectures)]
    rungs = tuple(options.rungs)
    recipe = replace(default_recipe(source), rungs=rungs)
    judging = replace(recipe, rungs=rungs[-1:], schedule="one_cycle")
    with ProcessPoolExecutor(options.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        judged = [pool.submit(curve, spec, options.data, judging, JUDGE_SEED) for spec in specs]
        running = {}
        for name in SCHEDULES:
            scheduled = replace(recipe, schedule=name)
            running[name] = [pool.submit(curve, spec, options.data, scheduled, 0) for spec in specs]
        judge = np.array([future.result()[-1] for future in judged])
        print(
            f"{len(specs)} architectures, {options.data}, mean top1 of the full training that judges {judge.mean():.3f}"
        )
        for name, futures in running.items():
            scores = np.array([future.result() for future in futures])
            taus = [
                f"{steps}: {kendalltau(column, judge).statistic:.2f}"
                for steps, column in zip(rungs, scores.T, strict=True)
            ]
            print(
                f"{name:<15} mean top1 at the end {scores[:, -1].mean():.3f}, tau after {', '.join(taus)}", flush=True
            )


if __name__ == "__main__":
    main()
