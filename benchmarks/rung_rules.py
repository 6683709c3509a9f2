"""What would stopping save? Replays of recorded trainings, and searches of a problem that is fitted to them.

    python -m benchmarks.halving --watch --seed 0 --seed 1 --curves FOLDER
    python -m benchmarks.rung_rules FOLDER/seed0_rungs4.jsonl FOLDER/seed1_rungs4.jsonl --rule 3:0.5 --rule 4:0.5

A replay takes the recorded architectures in their order and stops them by the rule. It asks what the rule loses where
proposals stay what they are. A simulated search proposes its own: top1 at the end is the prediction of a Gaussian
process of the recorded ends plus noise, and scores at the rungs are a linear function of end and ln macs plus noise
with the recorded covariance. With --oracle the sampler is told where each stopped training would have ended: no better
use of stopped trainings is possible.
"""

import argparse
import contextlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from nas.config import SearchConfig
from nas.pareto.front import hypervolume
from nas.protocols import Calibration, Event, Finished, Job, RungReached, SearchSpace
from nas.records import JSON, Genotype, RungScore
from nas.search.halving import ParetoHalving
from nas.surrogates.curves import MIN_PAIRS, Curve
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder
from nas.surrogates.genes import GeneLevels, Row
from nas.tabular.simulator import InMemorySearch
from search_spaces.registry import make_space
from workers.data.registry import open_data

Rule = tuple[int, float]
"""Number of rungs, the last ones of those recorded, and the share that goes on from each."""
NOISE = 0.02
"""Standard deviation of top1 at the end between trainings of one architecture."""
LEFT_CHANCE = 0.6
"""top1 at the end of the trainings whose scores at the rungs are fitted."""


def read(files: Sequence[Path]) -> list[list[dict[str, Any]]]:
    """Finished trainings of each file."""
    found = []
    for file in files:
        lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        found.append([line for line in lines if line["state"] == "COMPLETE"])
    return found


def scores_at_rungs(trainings: Sequence[dict[str, Any]]) -> np.ndarray:
    """(num_trainings, num_rungs) top1."""

    def scores(training: dict[str, Any]) -> list[float]:
        return [score["top1"] for score in training["rungs"]]

    return np.array([scores(training) for training in trainings])


def replay(trainings: Sequence[dict[str, Any]], rule: Rule, reference: tuple[float, float]) -> tuple[float, float, int]:
    """Device-seconds, hypervolume and number of those that were trained to the end."""
    num_rungs, keep = rule
    halving = ParetoHalving(keep, "macs")
    spent = 0.0
    ended = []
    for training in trainings:
        scores = training["rungs"][-num_rungs:]
        for rung, score in enumerate(scores[:-1]):
            if not halving.proceeds(training["trial"], rung, score["top1"], training["macs"]):
                spent += score["duration_s"]
                break
        else:
            spent += scores[-1]["duration_s"]
            ended.append((scores[-1]["top1"], training["macs"]))
    return spent, hypervolume(ended, reference), len(ended)


class Law:
    """What a training gives, fitted to recorded ones."""

    def __init__(self, space: SearchSpace, trainings: Sequence[dict[str, Any]]) -> None:
        self.levels = GeneLevels(space.genes)
        rows = self.rows([training["genotype"] for training in trainings])
        log_macs = np.log([training["macs"] for training in trainings])
        scores = scores_at_rungs(trainings)
        durations = np.log([training["rungs"][-1]["duration_s"] for training in trainings])
        encoder = GeneEncoder.of_genes(space.genes)
        self._end = GaussianProcess(encoder)
        self._duration = GaussianProcess(encoder)
        for process, target in ((self._end, scores[:, -1]), (self._duration, durations)):
            process.fit(rows, log_macs, target, max_iterations=200)
        learned = scores[:, -1] > LEFT_CHANCE
        inputs = np.column_stack([np.ones(learned.sum()), scores[learned, -1], log_macs[learned]])
        self._slopes = np.linalg.lstsq(inputs, scores[learned, :-1], rcond=None)[0]
        left = scores[learned, :-1] - inputs @ self._slopes
        self._spread = np.linalg.cholesky(np.atleast_2d(np.cov(left.T)))

    def rows(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        return self.levels.canonical(self.levels.rows(genotypes))

    def training(self, row: np.ndarray, macs: float, seed: int) -> tuple[np.ndarray, float]:
        """top1 at each recorded rung, and the duration of the whole."""
        log_macs = np.array([math.log(macs)])
        noise = np.random.default_rng((seed, *row.tolist())).standard_normal(1 + self._slopes.shape[1])
        end = self._end.mean(row[None], log_macs)[0] + NOISE * noise[0]
        early = np.array([1.0, end, log_macs[0]]) @ self._slopes + self._spread @ noise[1:]
        return np.clip([*early, end], 0.05, 0.98), float(np.exp(self._duration.mean(row[None], log_macs)[0]))


@dataclass
class LawEvaluator:
    """Trains nothing: gives what the law says."""

    law: Law
    seed: int
    num_rungs: int
    search: InMemorySearch | None = None
    device_s: float = 0.0
    ends: dict[Row, float] = field(default_factory=dict)
    """top1 at the end of every training, also of those that were stopped."""
    num_workers: int = 1

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        return Calibration(None, 0.0)

    def submit(self, job: Job) -> None:
        assert self.search is not None, "the search that asks is known"
        genotype = self.search.genotypes[job.trial_number]
        row = self.law.rows([genotype])[0]
        scores, self._duration_s = self.law.training(row, self.search.space.genotype_costs(genotype).macs, self.seed)
        self._number = job.trial_number
        self._scores = scores[-self.num_rungs :]
        self._rung = 0
        self._stopped = False
        self.ends[tuple(row.tolist())] = float(scores[-1])

    def answer(self, trial_number: int, proceed: bool) -> None:
        self._stopped = not proceed

    def events(self, timeout_s: float) -> Sequence[Event]:
        if self._stopped or self._rung == self.num_rungs:
            return [Finished(self._number, "simulated", "simulated", None)]
        rung = self._rung
        self._rung = self._rung + 1
        share = 0.5 ** (self.num_rungs - self._rung)
        self.device_s += self._duration_s * (share if rung == 0 else share / 2)
        score = RungScore(
            rung=rung, steps=self._rung, top1=float(self._scores[rung]), loss=0.0, duration_s=self._duration_s * share
        )
        return [RungReached(self._number, "simulated", score, self._rung == self.num_rungs)]

    def activities(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        """Nothing is held."""


def simulate(
    law: Law,
    space: SearchSpace,
    reference: tuple[float, float],
    sampler: str,
    seed: int,
    rule: Rule,
    budget: int,
    until_s: float = math.inf,
    oracle: bool = False,
) -> np.ndarray:
    """(num_trials, 2): device-seconds and hypervolume after each trial."""
    num_rungs, keep = rule
    evaluator = LawEvaluator(law, seed, num_rungs)
    config = SearchConfig(
        space=space.name,
        budget=budget,
        study="rungs",
        storage="",
        artifacts="",
        objectives=("top1", "macs"),
        sampler=sampler,
        seed=seed,
        rungs=num_rungs,
        keep=keep,
    )

    def told(_: object, finished: Sequence[Curve], stopped: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
        ends = [evaluator.ends[curve.row] if len(finished) >= MIN_PAIRS else math.nan for curve in stopped]
        return np.array(ends, dtype=float), np.full(len(stopped), 1e-3)

    search = evaluator.search = InMemorySearch(config, space, evaluator, reference, sampler_reference=reference)
    course: list[tuple[float, float]] = []

    def is_over() -> bool:
        course.extend((evaluator.device_s, search.keeper.hypervolume) for _ in search.store.recorded[len(course) :])
        return evaluator.device_s >= until_s

    with mock.patch("nas.surrogates.curves.Extrapolator.__call__", told) if oracle else contextlib.nullcontext():
        search.run(is_over)
    return np.array(course)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("files", type=Path, nargs="+", help="written by benchmarks.halving --watch")
    parser.add_argument("--rule", action="append", required=True, help="RUNGS:KEEP, as 4:0.5; repeat it")
    parser.add_argument("--sampler", default="ehvi")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--budget", type=int, default=200, help="full trainings of the search without rungs")
    parser.add_argument("--data", default="digits")
    parser.add_argument(
        "--oracle", action="store_true", help="tell the sampler where stopped trainings would have ended"
    )
    return parser.parse_args()


def parse_rule(rule: str) -> Rule:
    rungs, keep = rule.split(":")
    return int(rungs), float(keep)


def print_replays(
    files: Sequence[Path],
    recorded: Sequence[Sequence[dict[str, Any]]],
    rules: Sequence[Rule],
    reference: tuple[float, float],
) -> None:
    """One line for each file and rule."""
    for file, trainings in zip(files, recorded, strict=True):
        whole_s, target, _ = replay(trainings, (1, 0.5), reference)
        for rule in rules:
            spent, reached, ended = replay(trainings, rule, reference)
            shares = f"{spent / whole_s:.2f} of the device-seconds, {ended} of {len(trainings)} to the end"
            print(f"{file.name}, {text(rule)}: hypervolume {reached:.4f} of {target:.4f}, {shares}", flush=True)


def main() -> None:
    """Print replays, then simulated searches."""
    options = _options()
    rules = [parse_rule(rule) for rule in options.rule]
    source = open_data(options.data)
    space = make_space("hybrid_layout", "nano", source.image_size, source.in_chans, source.num_classes)
    reference = 1 / source.num_classes, float(space.costs(space.largest()).macs)
    recorded = read(options.files)
    print_replays(options.files, recorded, rules, reference)
    law = Law(space, list(itertools.chain.from_iterable(recorded)))
    found: dict[Rule, list[tuple[float, float]]] = {rule: [] for rule in rules}
    for seed in range(options.seeds):
        full = simulate(law, space, reference, options.sampler, seed, (1, 0.5), options.budget)
        whole_s, target = full[-1]
        print(f"seed {seed}, simulated: full {target:.4f}, at half of its time {at(full, whole_s / 2):.4f}", flush=True)
        for rule in rules:
            course = simulate(
                law, space, reference, options.sampler, seed, rule, 20 * options.budget, whole_s, options.oracle
            )
            reached_s = course[course[:, 1] >= target, 0]
            found[rule].append(
                (at(course, whole_s / 2) - target, reached_s[0] / whole_s if len(reached_s) else math.inf)
            )
            print(
                f"  {text(rule)}: {at(course, whole_s / 2):.4f} then, ratio of device-seconds {found[rule][-1][1]:.2f}",
                flush=True,
            )
    for rule, results in found.items():
        lead, ratio = np.array(results).T
        print(
            f"{text(rule)}: at half of the time {lead.mean():+.4f} to the end of the full search, median ratio "
            f"{np.median(ratio):.2f}"
        )


def text(rule: Rule) -> str:
    return f"{rule[0]} rungs that keep {rule[1]:g}"


def at(course: np.ndarray, device_s: float) -> float:
    """The hypervolume after so many device-seconds."""
    return float(course[course[:, 0] <= device_s, 1][-1])


if __name__ == "__main__":
    main()
