"""By which recipe does an early score tell what a search needs to know: which of its own proposals will end best?

    python -m benchmarks.rung_recipes --recipe nano --recipe nano-rungs

The architectures are the later proposals of a short search by macs: about equally good for their size, which explains
most of the differences that remain. So besides Kendall's tau between the score at a rung and the end of the same
training, the correlation is printed that is left when ln macs is taken out of both. A file gives a recipe with one
rung, the steps of the whole training.
"""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from scipy.stats import kendalltau

from benchmarks.halving import Setting, search
from benchmarks.rungs import curve
from nas.records import JSON
from workers.training.recipes import recipe_of

NUM_FIRST = 18
"""Trainings of the search that are left out: the random ones, and those that still learn what is bad."""
SEARCH_SEED = 7


def timed_curve(spec: JSON, data: str, recipe: str, rungs: int) -> tuple[list[float], float]:
    """top1 at each rung, and the processor time of it all."""
    started = time.process_time()
    return curve(spec, data, recipe_of(recipe).with_rungs(rungs), 0), time.process_time() - started


def without(size: np.ndarray, score: np.ndarray) -> np.ndarray:
    """What a straight line over size leaves of a score."""
    residual: np.ndarray = score - np.polyval(np.polyfit(size, score, 1), size)
    return residual


def main() -> None:
    """Search, train and print one line per recipe."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--recipe", action="append", required=True, help="a name or a JSON file; repeat it")
    parser.add_argument("--architectures", type=int, default=16)
    parser.add_argument("--rungs", type=int, default=4)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    found = search(Setting(options.data, "nano"), SEARCH_SEED, NUM_FIRST + options.architectures, rungs=1)
    facts = found.facts[NUM_FIRST:]
    size = np.log([trial.costs.macs for trial in facts])
    print(
        f"{len(facts)} architectures of {size.min():.1f} to {size.max():.1f} ln macs, {options.data}, "
        f"{options.rungs} rungs"
    )
    with ProcessPoolExecutor(options.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for recipe in options.recipe:
            jobs = [pool.submit(timed_curve, trial.spec, options.data, recipe, options.rungs) for trial in facts]
            curves, times = zip(*(job.result() for job in jobs), strict=True)
            scores = np.array(curves).T
            tau = [f"{kendalltau(score, scores[-1]).statistic:.2f}" for score in scores[:-1]]
            left = [
                f"{np.corrcoef(without(size, score), without(size, scores[-1]))[0, 1]:.2f}" for score in scores[:-1]
            ]
            print(
                f"{recipe:<16} mean top1 {' '.join(f'{score.mean():.3f}' for score in scores)}, tau with the end "
                f"{' '.join(tau)}, "
                f"correlation at equal size {' '.join(left)}, {np.mean(times):.1f} s of processor time each",
                flush=True,
            )


if __name__ == "__main__":
    main()
