"""What stopping the worse half saves: a search with rungs against one without, real trainings on digits.

    python -m benchmarks.halving --seed 0 --seed 1 --seed 2

For each seed the search without rungs trains its whole budget. The search with rungs, by the same recipe, ends when it
reaches the same hypervolume, or after as many device-seconds times --limit. Device-seconds are processor time of
training and validation, which other load on the machine hardly changes. The cost objective is macs, so nothing is
timed.
"""

import argparse
import json
import math
import multiprocessing
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nas.config import SearchConfig
from nas.protocols import Calibration, Event, Finished, Job
from nas.records import JSON, TrialFacts
from nas.tabular.simulator import InMemorySearch
from search_spaces.registry import make_space
from workers.data.registry import open_data
from workers.evaluate import EvaluationContext, evaluate
from workers.evaluation import EvaluationConfig
from workers.recipe import Recipe
from workers.training.recipes import recipe_of

EVERY = 0.999
"""Share to keep that stops none of as few as are ranked."""


class SerialEvaluator:
    """Evaluates one job after the other in this process."""

    num_workers = 1

    def __init__(self, data: str, recipe: Recipe) -> None:
        self._context = EvaluationContext(
            EvaluationConfig(data=data, recipe=recipe, lock_folder=tempfile.mkdtemp(prefix="halving-locks-"))
        )
        self._job: Generator[Event, bool, None] | None = None
        self._answer: bool | None = None
        self.device_s = 0.0
        """Processor time so far."""

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        return Calibration(None, 0.0)

    def submit(self, job: Job) -> None:
        self._job = evaluate(job, self._context)
        self._answer = None

    def answer(self, trial_number: int, proceed: bool) -> None:
        self._answer = proceed

    def events(self, timeout_s: float) -> Sequence[Event]:
        assert self._job is not None, "a job was submitted"
        started = time.process_time()
        answer = self._answer
        self._answer = None
        event = next(self._job) if answer is None else self._job.send(answer)
        self.device_s += time.process_time() - started
        return [replace(event, weights=None) if isinstance(event, Finished) else event]

    def activities(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class Result:
    """One search."""

    hypervolume: float
    device_s: float
    facts: Sequence[TrialFacts]

    def counts(self) -> str:
        complete = sum(trial.state == "COMPLETE" for trial in self.facts)
        return (
            f"{self.hypervolume:.4f} after {self.device_s:.0f} s ({len(self.facts)} architectures, {complete} trained "
            "to the end)"
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """What the searches that are compared have in common."""

    data: str
    recipe: str
    sampler: str = "ehvi"
    keep: float = 0.5
    curves: Path | None = None
    """Folder for a JSON line for each architecture."""


def search(
    setting: Setting, seed: int, budget: int, rungs: int, until: tuple[float, float] = (math.inf, math.inf)
) -> Result:
    """Search until the budget is used or `until`, a (hypervolume, device-seconds), is reached in either part."""
    source = open_data(setting.data)
    space = make_space("hybrid_layout", "nano", source.image_size, source.in_chans, source.num_classes)
    config = SearchConfig(
        space=space.name,
        budget=budget,
        study="halving",
        storage="",
        artifacts="",
        data=setting.data,
        objectives=("top1", "macs"),
        sampler=setting.sampler,
        seed=seed,
        rungs=rungs,
        keep=setting.keep,
    )
    evaluator = SerialEvaluator(setting.data, recipe_of(setting.recipe).with_rungs(rungs))
    reference = 1 / source.num_classes, float(space.costs(space.largest()).macs)
    run = InMemorySearch(config, space, evaluator, reference, sampler_reference=reference)
    done = 0

    def is_over() -> bool:
        nonlocal done
        if setting.curves is not None:
            file = setting.curves / f"seed{seed}_rungs{rungs}.jsonl"
            with file.open("a" if done else "w", encoding="utf-8") as lines:
                lines.writelines(curve_line(trial, run, evaluator.device_s) for trial in run.store.recorded[done:])
            done = len(run.store.recorded)
        return run.keeper.hypervolume >= until[0] or evaluator.device_s >= until[1]

    run.run(is_over)
    return Result(run.keeper.hypervolume, evaluator.device_s, tuple(run.store.recorded))


def curve_line(trial: TrialFacts, run: InMemorySearch, device_s: float) -> str:
    """The JSON line of one architecture, with what the search had reached when it ended."""
    values = {
        "trial": trial.trial_number,
        "state": trial.state,
        "macs": trial.costs.macs,
        "genotype": run.genotypes[trial.trial_number],
        "rungs": [{"steps": score.steps, "top1": score.top1, "duration_s": score.duration_s} for score in trial.rungs],
        "device_s": device_s,
        "hypervolume": run.keeper.hypervolume,
    }
    return json.dumps(values) + "\n"


def compare(setting: Setting, seed: int, budget: int, rungs: int, limit: float) -> tuple[Result, Result]:
    """Without rungs, then with."""
    full = search(setting, seed, budget, rungs=1)
    print(f"seed {seed}: full {full.counts()}", flush=True)
    until = full.hypervolume, limit * full.device_s
    return full, search(setting, seed, 10 * budget, rungs, until)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seed", type=int, action="append", required=True)
    parser.add_argument("--sampler", default="ehvi")
    parser.add_argument("--budget", type=int, default=200, help="full trainings of the search without rungs")
    parser.add_argument("--recipe", default="nano-rungs", help="of both searches; a name or a JSON file")
    parser.add_argument("--rungs", type=int, default=4)
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument(
        "--watch",
        action="store_true",
        help="one search of --budget that is scored at the rungs and stops none, for benchmarks.rung_rules",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=1.0,
        help="share of the device-seconds after which a search with rungs is given up",
    )
    parser.add_argument(
        "--curves", type=Path, help="an existing folder for what each search did, a JSON line for each architecture"
    )
    parser.add_argument("--data", default="digits")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Print one line per seed and the median ratio."""
    options = _options()
    setting = Setting(options.data, options.recipe, options.sampler, options.keep, options.curves)
    ratios = []
    with ProcessPoolExecutor(options.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        if options.watch:
            nobody = replace(setting, keep=EVERY)
            searches = [pool.submit(search, nobody, seed, options.budget, options.rungs) for seed in options.seed]
            for seed, watched in zip(options.seed, searches, strict=True):
                print(f"seed {seed}: scored at {options.rungs} rungs, {watched.result().counts()}", flush=True)
            return
        rule = f"{options.rungs} rungs that keep {options.keep:g}"
        print(
            (
                f"{options.data}, {options.sampler}, recipe {options.recipe}: {options.budget} full trainings against "
                f"{rule}"
            ),
            flush=True,
        )
        jobs = [
            pool.submit(compare, setting, seed, options.budget, options.rungs, options.limit) for seed in options.seed
        ]
        for seed, job in zip(options.seed, jobs, strict=True):
            full, halved = job.result()
            reached = halved.hypervolume >= full.hypervolume
            ratios.append(halved.device_s / full.device_s if reached else math.inf)
            print(
                f"seed {seed}: full {full.counts()}; with rungs {halved.counts()}; ratio {ratios[-1]:.2f}", flush=True
            )
    print(f"median ratio of device-seconds {np.median(ratios):.2f}")


if __name__ == "__main__":
    main()
