"""Record hybrid_nano: architectures of `hybrid_layout` (mixers core, scale nano, 32 pixels), each trained once or more.

    OMP_NUM_THREADS=1 python -m benchmarks.record --workers 2                     # random, seeds, proposed
    OMP_NUM_THREADS=1 python -m benchmarks.record --part images --images DIR      # the same networks on colour images
    OMP_NUM_THREADS=1 python -m benchmarks.record --what latency                  # quiet machine, one process
    python -m benchmarks.record --what count
    OMP_NUM_THREADS=1 python -m benchmarks.record --what again --count 20         # does it come out alike?

Every training is one line of the row file, which stays in the repository. What has a line is never trained again, so
the same command goes on after a kill. Several commands may write to one file. `benchmarks.nano` makes the table of it.

Trainings follow the default recipe and are scored after an eighth, a quarter, half and all of it. Nothing is timed
beside them: `latency` has a pass of its own.
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice, product
from pathlib import Path

import numpy as np
import optuna
import torch

from benchmarks.rows import append_row, read_rows
from nas.config import SearchConfig
from nas.errors import EvaluatorError, InvalidInputError, NasError
from nas.protocols import Failed, Job, RungReached, SearchSpace
from nas.records import JSON, RungScore
from nas.search.inline import InlineEvaluator
from nas.surrogates.genes import GeneLevels, Row
from nas.tabular.simulator import InMemorySearch
from nas.version import code_version
from search_spaces.architecture.spec import Architecture
from search_spaces.registry import make_space
from workers.data.registry import open_data
from workers.evaluate import EvaluationContext, evaluate
from workers.evaluation import EvaluationConfig
from workers.latency.target import LatencyTarget
from workers.processes import environment, follow_parent
from workers.training.recipes import default_recipe
from workers.training.zero_cost import NUM_BATCHES, zero_cost_scores

ROWS = Path(__file__).parents[1] / "docs" / "measurements" / "hybrid_nano.jsonl"
SPACE = {"name": "hybrid_layout", "scale": "nano", "mixers": "core"}
IMAGE_SIZE = 32
TARGET = "cpu:threads=1,batch=1"
NUM_SCORES = 4
"""Scores of a training, each after twice the steps of the one before."""
NUM_RANDOM = 600
NUM_SEEDED = 50
"""The first random architectures, which are trained with every seed of SEEDS."""
SEEDS = (0, 1, 2)
NUM_IMAGES = 150
"""The first random architectures, which are trained on the colour images too."""
PROPOSED = {"ehvi": 100, "tpe_multivariate": 50, "tpe": 50, "nsga2": 50, "gp": 50}
"""Sampler -> length of its search of top1 against macs."""
PARTS = ("random", "seeds", "proposed", "images")
DIGITS = "digits"
IMAGES = "images"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows go, and what they are trained on."""

    rows: Path
    data: str
    """What workers.data.registry.open_data takes."""
    label: str
    """DIGITS or IMAGES."""

    def done(self) -> dict[tuple[str, int], JSON]:
        """(architecture, seed) -> row of every training on these data."""
        return {
            (row["architecture"], row["seed"]): row
            for row in read_rows(self.rows)
            if row["kind"] == "training" and row["data"] == self.label
        }


@lru_cache(maxsize=2)
def open_context(data: str, target: str | None = None) -> EvaluationContext:
    """What this process trains on, or times on."""
    source = open_data(data)
    recipe = default_recipe(source)
    rungs = tuple(recipe.steps // 2**place for place in reversed(range(NUM_SCORES)))
    return EvaluationContext(
        EvaluationConfig(data=source.text, recipe=replace(recipe, rungs=rungs), latency_target=target)
    )


@lru_cache(maxsize=2)
def open_space(data: str) -> SearchSpace:
    """The space that is recorded, for images of these data."""
    source = open_data(data)
    if source.image_size != IMAGE_SIZE:
        raise InvalidInputError(
            f"the images of {data} have {source.image_size} pixels a side; hybrid_nano is recorded at {IMAGE_SIZE}"
        )
    return make_space(
        SPACE["name"], SPACE["scale"], source.image_size, source.in_chans, source.num_classes, SPACE["mixers"]
    )


def random_rows(space: SearchSpace, count: int) -> list[Row]:
    """Levels of the first `count` random architectures, which are distinct and always the same."""
    rng = np.random.default_rng(0)
    levels = GeneLevels(space.genes)
    drawn: dict[str, Row] = {}
    while len(drawn) < count:
        genotype = space.sample(rng)
        drawn.setdefault(space.architecture(genotype).arch_hash, levels.row(genotype))
    return list(drawn.values())


def train(place: Place, part: str, row: Row, seed: int) -> JSON:
    """Train one architecture, unless the file has it by now; returns its row."""
    space = open_space(place.data)
    levels = GeneLevels(space.genes)
    architecture = space.architecture(levels.genotype(row))
    known = place.done().get((architecture.arch_hash, seed))
    if known is not None:
        return known
    context = open_context(place.data)
    canonical = levels.canonical(levels.matrix([row]))[0]
    costs = space.costs(architecture)
    made = {
        "kind": "training",
        "data": place.label,
        "part": part,
        "architecture": architecture.arch_hash,
        "levels": canonical.tolist(),
        "seed": seed,
        "param_count": costs.param_count,
        "macs": costs.macs,
        "scores": _training_free(architecture.to_spec(), seed, context),
        **_trained(architecture.to_spec(), seed, context),
        "space": space.space_hash,
        "recipe": context.config.recipe.hash,
        "images": context.source.fingerprint,
        **_conditions(),
    }
    append_row(place.rows, made)
    return made


@lru_cache(maxsize=1)
def _conditions() -> JSON:
    """What code and what machine."""
    target = LatencyTarget.parse(TARGET).fingerprint((1, IMAGE_SIZE, IMAGE_SIZE))
    return {"version": code_version(), "torch": torch.__version__, "machine": target["device_name"]}


def _training_free(spec: JSON, seed: int, context: EvaluationContext) -> JSON:
    with context.computing():
        torch.manual_seed(seed)
        model = context.build(spec, 0.0)
        batches = list(islice(context.batches.train(seed), NUM_BATCHES))
        return dict(zero_cost_scores(model, batches))


def _trained(spec: JSON, seed: int, context: EvaluationContext) -> JSON:
    """Scores of one training, or why it failed."""
    scores: list[RungScore] = []
    cpu_s: list[float] = []
    started_s = time.process_time()
    events = evaluate(Job(0, spec, seed), context)
    event = next(events)
    while isinstance(event, RungReached):
        scores.append(event.score)
        cpu_s.append(round(time.process_time() - started_s, 3))
        if event.last:
            break
        event = events.send(True)
    events.close()
    return {
        "steps": [score.steps for score in scores],
        "top1": [score.top1 for score in scores],
        "loss": [round(score.loss, 5) for score in scores],
        "training_s": [round(score.duration_s, 3) for score in scores],
        "cpu_s": cpu_s,
        "failed": event.reason if isinstance(event, Failed) else None,
    }


def propose(place: Place, sampler: str, budget: int) -> None:
    """Search with a sampler, top1 against macs; what the file has is not trained again, so this goes on."""
    space = open_space(place.data)
    levels = GeneLevels(space.genes)

    def top1(spec: JSON) -> float:
        newest = search.genotypes[max(search.genotypes)]
        assert space.architecture(newest).arch_hash == Architecture.from_spec(spec).arch_hash, "the search is serial"
        made = train(place, f"proposed by {sampler}", levels.row(newest), SEEDS[0])
        if made["failed"] is not None:
            raise EvaluatorError(made["failed"])
        return float(made["top1"][-1])

    config = SearchConfig(
        space=space.name,
        budget=budget,
        study=sampler,
        storage="memory",
        artifacts="",
        objectives=("top1", "macs"),
        sampler=sampler,
        seed=SEEDS[0],
    )
    reference = (1 / open_data(place.data).num_classes, float(space.costs(space.largest()).macs))
    search = InMemorySearch(config, space, InlineEvaluator(top1, times=False), reference, sampler_reference=reference)
    search.run()


def orders(place: Place, parts: Sequence[str]) -> Iterator[tuple[str, Row | str, int]]:
    """What is missing: (part, levels, seed) of a training, or ("proposed", sampler, length) of a search."""
    rows = random_rows(open_space(place.data), NUM_RANDOM)
    for part in parts:
        if part == "proposed":
            yield from ((part, sampler, budget) for sampler, budget in PROPOSED.items())
        elif part == "seeds":
            yield from ((part, row, seed) for row, seed in product(rows[:NUM_SEEDED], SEEDS))
        else:
            yield from ((part, row, SEEDS[0]) for row in (rows[:NUM_IMAGES] if part == "images" else rows))


def _run(place: Place, part: str, what: Row | str, number: int) -> str:
    """One order, in a process of the pool; gives a line about it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if isinstance(what, str):
        propose(place, what, number)
        return f"{what}: {number} proposals"
    made = train(place, part, what, number)
    return f"{part}: {made['architecture'][:8]}, seed {number}: top1 {made['top1'][-1:]}"


def run_train(place: Place, parts: Sequence[str], workers: int) -> None:
    """Fill the row file."""
    read_rows(place.rows)  # a damaged file is refused before anything is trained
    context = multiprocessing.get_context("spawn")
    with environment(), ProcessPoolExecutor(workers, context, initializer=follow_parent) as pool:
        pending = [pool.submit(_run, place, *order) for order in orders(place, parts)]
        for done, order in enumerate(as_completed(pending), start=1):
            print(f"{done} of {len(pending)}: {order.result()}", flush=True)


def run_latency(rows: Path) -> None:
    """Time every architecture of the digits that has no timing yet, one after the other."""
    context = open_context(DIGITS, TARGET)
    space = open_space(DIGITS)
    levels = GeneLevels(space.genes)
    timed = {row["architecture"] for row in read_rows(rows) if row["kind"] == "latency"}
    assert context.target is not None
    for row in Place(rows, DIGITS, DIGITS).done().values():
        if row["architecture"] in timed:
            continue
        timed.add(row["architecture"])
        spec = space.architecture(levels.genotype(row["levels"])).to_spec()
        latency = context.timed(context.build(spec, 0.0), context.target)
        made = {
            "kind": "latency",
            "architecture": row["architecture"],
            "median_ms": latency.median_ms,
            "ci_low_ms": latency.ci_low_ms,
            "ci_high_ms": latency.ci_high_ms,
            "p95_ms": latency.p95_ms,
            "samples": latency.samples,
            "target": latency.target,
            "conditions": latency.conditions,
            **_conditions(),
        }
        append_row(rows, made)
        print(f"{len(timed)}: {row['architecture'][:8]}: {latency.median_ms:.3f} ms", flush=True)


def run_count(rows: Path) -> None:
    """Say what the file has."""
    counts: Counter[str] = Counter()
    for row in read_rows(rows):
        if row["kind"] == "latency":
            counts["timings"] += 1
        else:
            counts[f"{row['data']}, {row['part']}, seed {row['seed']}"] += 1
            counts["failed"] += row["failed"] is not None
    print("\n".join(f"{name}: {count}" for name, count in sorted(counts.items())))


def run_again(rows: Path, count: int) -> None:
    """Train some recorded architectures of the digits again, with the recorded seed, and compare."""
    place = Place(rows, DIGITS, DIGITS)
    recorded = [row for row in place.done().values() if row["failed"] is None]
    chosen = np.random.default_rng(0).permutation(len(recorded))[:count]
    space = open_space(DIGITS)
    levels = GeneLevels(space.genes)
    differences = []
    for index in chosen:
        row = recorded[index]
        spec = space.architecture(levels.genotype(row["levels"])).to_spec()
        made = _trained(spec, row["seed"], open_context(DIGITS))
        differences.append(made["top1"][-1] - row["top1"][-1])
        print(f"{row['architecture'][:8]}: recorded {row['top1'][-1]:.4f}, again {made['top1'][-1]:.4f}", flush=True)
    print(
        f"{len(differences)} again: {differences.count(0)} the same, mean difference {np.mean(differences):+.4f}, "
        f"root mean square {np.sqrt(np.mean(np.square(differences))):.4f}; between seeds {seed_spread(recorded):.4f}"
    )


def seed_spread(recorded: Sequence[JSON]) -> float:
    """Standard deviation of top1 between seeds, pooled over the architectures that have several; NaN without any."""
    by_architecture: dict[str, list[float]] = {}
    for row in recorded:
        by_architecture.setdefault(row["architecture"], []).append(row["top1"][-1])
    variances = [np.var(top1, ddof=1) for top1 in by_architecture.values() if len(top1) > 1]
    return float(np.sqrt(np.mean(variances))) if variances else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=("train", "latency", "count", "again"), default="train")
    parser.add_argument("--part", choices=PARTS, action="append", help="all but images by default; repeat it")
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time, each on one thread")
    parser.add_argument("--images", help="folder with train/CLASS/ and val/CLASS/ of colour images, for that part")
    parser.add_argument("--count", type=int, default=20, help="of trainings to repeat")
    parser.add_argument("--rows", type=Path, default=ROWS)
    arguments = parser.parse_args()
    try:
        run(arguments)
    except NasError as error:
        sys.exit(f"error: {error}")


def run(arguments: argparse.Namespace) -> None:
    """Do what the options name."""
    if arguments.what == "latency":
        run_latency(arguments.rows)
    elif arguments.what == "count":
        run_count(arguments.rows)
    elif arguments.what == "again":
        run_again(arguments.rows, arguments.count)
    else:
        parts = arguments.part or [part for part in PARTS if part != "images"]
        if "images" in parts and arguments.images is None:
            raise InvalidInputError("--part images needs the folder of the images; give it as --images DIR")
        on_digits = [part for part in parts if part != "images"]
        if on_digits:
            run_train(Place(arguments.rows, DIGITS, DIGITS), on_digits, arguments.workers)
        if "images" in parts:
            run_train(Place(arguments.rows, f"folder:{arguments.images}", IMAGES), ["images"], arguments.workers)


if __name__ == "__main__":
    main()
