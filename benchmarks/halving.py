"""What stopping the worse half saves: a search with rungs against one without, real trainings on digits.

    python -m benchmarks.halving --seed 0 --seed 1 --seed 2

For each seed the search without rungs trains its whole budget. The search with rungs, by the same recipe, ends when it reaches the same
hypervolume, or after as many device-seconds times --limit. Device-seconds are processor time of training and validation, which other load
on the machine hardly changes. The cost objective is macs, so nothing is timed.
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
from nas.simulator import InMemorySearch
from search_spaces.registry import make_space
from workers.data import open_data
from workers.evaluate import EvaluationConfig, EvaluationContext, evaluate
from workers.recipe import Recipe, recipe_of


class SerialEvaluator:
    """Evaluates one job after the other in this process."""

    num_workers = 1

    def __init__(self, data: str, recipe: Recipe) -> None:
        self._context = EvaluationContext(
            EvaluationConfig(data=data, recipe=recipe, lock_folder=tempfile.mkdtemp(prefix="halving-locks-"))
        )  # fmt: skip
        self._job: Generator[Event, bool, None] | None = None
        self._answer: bool | None = None
        self.device_s = 0.0
        """Processor time so far."""

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        return Calibration(None, 0.0)

    def submit(self, job: Job) -> None:
        self._job, self._answer = evaluate(job, self._context), None

    def answer(self, trial_number: int, proceed: bool) -> None:
        self._answer = proceed

    def events(self, timeout_s: float) -> Sequence[Event]:
        assert self._job is not None, "a job was submitted"
        started, answer = time.process_time(), self._answer
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
        return f"{self.hypervolume:.4f} after {self.device_s:.0f} s ({len(self.facts)} architectures, {complete} trained to the end)"


def search(options: argparse.Namespace, seed: int, budget: int, rungs: int, until: tuple[float, float] = (math.inf, math.inf)) -> Result:
    """Search until the budget is used or `until`, a (hypervolume, device-seconds), is reached in either part."""
    source = open_data(options.data)
    space = make_space("hybrid_layout", "nano", source.image_size, source.in_chans, source.num_classes)
    config = SearchConfig(
        space=space.name, budget=budget, study="halving", storage="", artifacts="", data=options.data, objectives=("top1", "macs"),
        sampler=options.sampler, seed=seed, rungs=rungs, keep=options.keep,
    )  # fmt: skip
    evaluator = SerialEvaluator(options.data, recipe_of(options.recipe).with_rungs(rungs))
    reference = 1 / source.num_classes, float(space.costs(space.largest()).macs)
    run = InMemorySearch(config, space, evaluator, reference, sampler_reference=reference)
    done = 0

    def is_over() -> bool:
        nonlocal done
        if options.curves is not None:
            with (options.curves / f"seed{seed}_rungs{rungs}.jsonl").open("a" if done else "w", encoding="utf-8") as lines:
                lines.writelines(_line(trial, evaluator.device_s, run.keeper.hypervolume) for trial in run.store.recorded[done:])
            done = len(run.store.recorded)
        return run.keeper.hypervolume >= until[0] or evaluator.device_s >= until[1]

    run.run(is_over)
    return Result(run.keeper.hypervolume, evaluator.device_s, tuple(run.store.recorded))


def _line(trial: TrialFacts, device_s: float, hypervolume: float) -> str:
    top1 = {score.steps: score.top1 for score in trial.rungs}
    state = {"trial": trial.trial_number, "state": trial.state, "macs": trial.costs.macs, "top1": top1}
    return json.dumps({**state, "device_s": device_s, "hypervolume": hypervolume}) + "\n"


def compare(options: argparse.Namespace, seed: int) -> tuple[Result, Result]:
    """Without rungs, then with."""
    full = search(options, seed, options.budget, rungs=1)
    print(f"seed {seed}: full {full.counts()}", flush=True)
    until = full.hypervolume, options.limit * full.device_s
    return full, search(options, seed, 10 * options.budget, options.rungs, until)


def main() -> None:
    """Print one line per seed and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, action="append", required=True)
    parser.add_argument("--sampler", default="ehvi")
    parser.add_argument("--budget", type=int, default=200, help="full trainings of the search without rungs")
    parser.add_argument("--recipe", default="nano-rungs", help="of both searches; a name or a JSON file")
    parser.add_argument("--rungs", type=int, default=4)
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--limit", type=float, default=1.0, help="share of the device-seconds after which a search with rungs is given up")
    parser.add_argument("--curves", type=Path, help="an existing folder for what each search did, a JSON line for each architecture")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    print(f"{options.data}, {options.sampler}, recipe {options.recipe}: {options.budget} full trainings against {options.rungs} rungs that "
          f"keep {options.keep:g}", flush=True)  # fmt: skip
    ratios = []
    with ProcessPoolExecutor(options.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(compare, options, seed) for seed in options.seed]
        for seed, job in zip(options.seed, jobs, strict=True):
            full, halved = job.result()
            reached = halved.hypervolume >= full.hypervolume
            ratios.append(halved.device_s / full.device_s if reached else math.inf)
            print(f"seed {seed}: full {full.counts()}; with rungs {halved.counts()}; ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio of device-seconds {np.median(ratios):.2f}")


if __name__ == "__main__":
    main()
