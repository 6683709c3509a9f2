"""Does the default proxy carry signal? The study behind docs/measurements/proxy.md.

    python benchmarks/proxy.py --architectures 24 --seeds 3 --long 8 --output proxy.json

Random architectures are evaluated by the default recipe with several seeds, and once by a training that is several
times longer, with another seed. Printed are the spread between architectures against the noise between seeds, and
Kendall's tau between what is known before or after the short training and the score after the long one, with bootstrap
intervals over the architectures.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from nas.protocols import Job, RungReached
from nas.records import JSON
from nas.surrogates.quality import agreement
from search_spaces.registry import make_space
from workers.data.registry import open_data
from workers.evaluate import EvaluationContext, evaluate
from workers.evaluation import EvaluationConfig
from workers.training.recipes import default_recipe, search_recipe

LONG_SEED = 1000
"""Unlike every seed of a short training, so that the two share no luck."""


@dataclass(frozen=True, slots=True)
class Score:
    """One training."""

    architecture: int
    long: bool
    seed: int
    top1: float
    duration_s: float
    """Wall time of training and validation."""
    cpu_s: float
    """Processor time of the whole evaluation; unlike the wall time, hardly longer on a busy machine."""


@dataclass(frozen=True, slots=True)
class Study:
    """Everything that was measured."""

    setting: JSON
    layouts: list[str]
    param_count: list[int]
    macs: list[int]
    scores: list[Score]

    def short_top1(self) -> np.ndarray:
        """(num_architectures, num_seeds)."""
        by_architecture: list[list[float]] = [[] for _ in self.layouts]
        for score in self._sorted(long=False):
            by_architecture[score.architecture].append(score.top1)
        return np.array(by_architecture)

    def long_top1(self) -> np.ndarray:
        """(num_architectures,)."""
        return np.array([score.top1 for score in self._sorted(long=True)])

    def _sorted(self, *, long: bool) -> list[Score]:
        """Those of one length, by architecture and seed."""
        found = [score for score in self.scores if score.long is long]
        return sorted(found, key=lambda score: (score.architecture, score.seed))


@lru_cache(maxsize=2)
def open_context(data: str, times: int, recipe_text: str | None = None) -> EvaluationContext:
    """A context of this process; its locks are private, because nothing is timed here."""
    recipe = search_recipe(recipe_text, open_data(data), 1)
    config = EvaluationConfig(
        data=data,
        recipe=replace(recipe, rungs=(times * recipe.steps,)),
        lock_folder=tempfile.mkdtemp(prefix="proxy-locks-"),
    )
    return EvaluationContext(config)


def run_one(spec: JSON, data: str, times: int, architecture: int, seed: int, recipe_text: str | None = None) -> Score:
    """Train one architecture for `times` the steps of the recipe, a search's own where none is given."""
    context = open_context(data, times, recipe_text)
    start_s = time.process_time()
    events = evaluate(Job(architecture, spec, seed), context)
    event = next(events)
    if not isinstance(event, RungReached):
        raise RuntimeError(f"architecture {architecture} has no score: {event}")
    events.close()
    return Score(architecture, times > 1, seed, event.score.top1, event.score.duration_s, time.process_time() - start_s)


def run_study(arguments: argparse.Namespace) -> Study:
    source = open_data(arguments.data)
    space = make_space(arguments.space, arguments.scale, source.image_size, source.in_chans, source.num_classes)
    rng = np.random.default_rng(arguments.seed)
    architectures = {}
    while len(architectures) < arguments.architectures:
        architecture = space.architecture(space.sample(rng))
        architectures[architecture.arch_hash] = architecture
    drawn = list(architectures.values())
    # The long ones first, so that the processes end together.
    specs = [architecture.to_spec() for architecture in drawn]
    tasks = [(spec, arguments.data, arguments.long, i, LONG_SEED) for i, spec in enumerate(specs)]
    for i, spec in enumerate(specs):
        tasks += [(spec, arguments.data, 1, i, seed) for seed in range(arguments.seeds)]
    costs = [space.costs(architecture) for architecture in drawn]
    return Study(
        setting={
            "space": arguments.space,
            "scale": arguments.scale,
            "space_hash": space.space_hash,
            "data": arguments.data,
            "data_fingerprint": source.fingerprint,
            "recipe": default_recipe(source).to_json(),
            "long": arguments.long,
            "seed": arguments.seed,
        },
        layouts=[architecture.layout() for architecture in drawn],
        param_count=[cost.param_count for cost in costs],
        macs=[cost.macs for cost in costs],
        scores=run_tasks(tasks, arguments.processes),
    )


def run_tasks(tasks: list[tuple[JSON, str, int, int, int]], processes: int) -> list[Score]:
    start = time.monotonic()
    scores = []
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run_one, *task) for task in tasks]):
            score = future.result()
            scores.append(score)
            minutes = (time.monotonic() - start) / 60
            print(f"{len(scores)}/{len(tasks)} after {minutes:.1f} min: {score}", file=sys.stderr, flush=True)
    return scores


def report(study: Study) -> str:
    """The tables of docs/measurements/proxy.md, in Markdown."""
    short = study.short_top1()
    long = study.long_top1()
    noise = float(np.sqrt(short.var(axis=1, ddof=1).mean()))
    spread = float(short.mean(axis=1).std(ddof=1))
    short_cpu_s = np.mean([score.cpu_s for score in study.scores if not score.long])
    long_cpu_s = np.mean([score.cpu_s for score in study.scores if score.long])
    lines = [
        f"| {len(long)} architectures, {short.shape[1]} seeds | |",
        "|---|---|",
        f"| mean top1, short | {short.mean():.3f} |",
        f"| mean top1, {study.setting['long']} times longer | {long.mean():.3f} |",
        f"| spread: standard deviation between architectures (of their means) | {spread:.4f} |",
        f"| noise: standard deviation between seeds (pooled) | {noise:.4f} |",
        f"| spread / noise | {spread / noise:.1f} |",
        f"| spread after the long training | {long.std(ddof=1):.4f} |",
        f"| processor time of a short training, mean | {short_cpu_s:.1f} s |",
        f"| processor time of a long training, mean | {long_cpu_s:.1f} s |",
        "",
        f"| predictor of top1 after a training {study.setting['long']} times longer | Kendall tau | 95 % interval |",
        "|---|---|---|",
    ]
    predictors = {
        "short training, one seed": short,
        f"short training, mean of {short.shape[1]} seeds": short.mean(axis=1),
        "param_count": np.array(study.param_count),
        "macs": np.array(study.macs),
    }
    for name, values in predictors.items():
        found = agreement(values, long)
        lines.append(
            f"| {name} | " + (f"{found.tau:.2f} | {found.low:.2f} to {found.high:.2f} |" if found else "undefined | |")
        )
    lines += ["", "| layout | param_count | macs | short, by seed | long |", "|---|---|---|---|---|"]
    for i in np.argsort(-long):
        by_seed = " ".join(f"{value:.3f}" for value in short[i])
        lines.append(
            f"| {study.layouts[i].replace('|', '/')} | {study.param_count[i]:,} | {study.macs[i]:,} | {by_seed} | "
            f"{long[i]:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3, help="short trainings of each architecture, at least 2")
    parser.add_argument("--long", type=int, default=8, help="how many times longer the long training is")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--space", default="hybrid_layout")
    parser.add_argument("--scale", default="nano")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of architectures")
    parser.add_argument("--output", type=Path, help="write everything that was measured here, as JSON")
    parser.add_argument("--input", type=Path, help="print the tables of such a file instead of measuring")
    arguments = parser.parse_args()
    if arguments.input:
        stored = json.loads(arguments.input.read_text())
        study = Study(**{**stored, "scores": [Score(**score) for score in stored["scores"]]})
    else:
        study = run_study(arguments)
    if arguments.output:
        arguments.output.write_text(json.dumps(asdict(study), indent=1))
    print(report(study))


if __name__ == "__main__":
    main()
