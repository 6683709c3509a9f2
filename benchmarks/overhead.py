"""What a trial costs besides its evaluation: our loop beside Ray Tune with OptunaSearch and Optuna's n_jobs=2, on the
same genes.

    python -m benchmarks.overhead [--trials 200] [--tune-trials 30] [--resume-trials 10000]

Every evaluation returns at once, so wall time divided by trials is overhead. All write to SQLite files in one temporary
folder; ours and theirs sample the genes of hybrid_layout (nano), ours with the default sampler and theirs with
multivariate TPE, and theirs answer with top1 and macs from the same tables. The last part resumes a study of 10,000
recorded trials.
"""

import argparse
import contextlib
import io
import logging
import os
import resource
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from rich.console import Console

from db.engine import engine_kwargs
from db.store import open_store
from nas.config import SearchConfig
from nas.pareto.front import FrontKeeper
from nas.protocols import Calibration, Event, Finished, Job, LatencyMeasured, RungReached, SearchSpace, mixers_of
from nas.records import JSON, Genotype, Latency, RungScore, StudyRecord, TrialFacts
from nas.search.establish import Identity, check_study, establish
from nas.search.progress import Progress
from nas.search.study import distributions_of, open_optuna_storage
from search_spaces.registry import make_space

TARGET: JSON = {"kind": "none"}
RECIPE: JSON = {"name": "none"}


def make_nano() -> SearchSpace:
    return make_space("hybrid_layout", "nano", 32, 1, 10)


def score_of(number: int) -> float:
    """A number in [0, 1) that looks random: golden ratio sequence."""
    return number * 0.6180339887498949 % 1


class InstantEvaluator:
    """Answers every job in the call that asks for its events."""

    num_workers = 2

    def __init__(self) -> None:
        self._events: deque[Event] = deque()

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        return Calibration(self._latency(2.0), 0.0)

    def submit(self, job: Job) -> None:
        latency = self._latency(0.1 + score_of(7 * job.trial_number))
        self._events.append(LatencyMeasured(job.trial_number, "instant", latency))

    def answer(self, trial_number: int, proceed: bool) -> None:
        score = RungScore(rung=0, steps=1, top1=score_of(trial_number), loss=1.0, duration_s=0.0)
        self._events.append(RungReached(trial_number, "instant", score, last=True))
        self._events.append(Finished(trial_number, "instant", "none", b"weights"))

    def events(self, timeout_s: float) -> Sequence[Event]:
        events = list(self._events)
        self._events = deque()
        return events

    def activities(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        """Nothing is held."""

    @staticmethod
    def _latency(median_ms: float) -> Latency:
        return Latency(TARGET, {}, median_ms, 0.99 * median_ms, 1.01 * median_ms, median_ms, 30)


def config_for(folder: Path, budget: int) -> SearchConfig:
    return SearchConfig(
        space="hybrid_layout",
        budget=budget,
        study="overhead",
        storage=f"sqlite:///{folder}/ours.db",
        artifacts=f"{folder}/artifacts",
    )


def run_ours(folder: Path, budget: int) -> tuple[float, float]:
    """Search until the budget is reached.

    Returns:
        Seconds until the first ask (open, reconcile), seconds of the loop.
    """
    config = config_for(folder, budget)
    space = make_nano()
    evaluator = InstantEvaluator()
    identity = Identity("none", "none", 0.1, RECIPE, TARGET, "benchmark", {})
    started = time.perf_counter()
    with contextlib.closing(open_store(config.storage)) as store:
        storage = open_optuna_storage(config.storage, engine_kwargs(config.storage))
        recorded = check_study(store, storage, config, space, lambda: identity)
        search = establish(
            config=config,
            space=space,
            identity=identity,
            recorded=recorded,
            uid=uuid.uuid4().hex,
            evaluator=evaluator,
            store=store,
            storage=storage,
            sampling=contextlib.nullcontext,
        )
        ready = time.perf_counter()
        console = Console(file=io.StringIO())
        with Progress("overhead", budget, search.evaluated, quiet=False, console=console) as progress:
            search.run(progress)
        ended = time.perf_counter()
        storage.engine.dispose()
    return ready - started, ended - ready


def evaluate_theirs(space: SearchSpace, params: Mapping[str, Any]) -> tuple[float, float]:
    """The evaluation of the peers: canonical form and costs, as in our loop, and no more."""
    architecture = space.architecture(space.repair(dict(params)))
    return score_of(hash(architecture.arch_hash) % 1000), float(space.costs(architecture).macs)


def run_optuna(folder: Path, trials: int) -> float:
    """Seconds of Optuna's own parallel loop on SQLite, as its documentation shows it."""
    space = make_nano()
    distributions = distributions_of(space.genes)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        return evaluate_theirs(
            space, {name: _suggest(trial, name, distribution) for name, distribution in distributions.items()}
        )

    study = optuna.create_study(
        storage=f"sqlite:///{folder}/optuna.db",
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.TPESampler(seed=0, multivariate=True),
    )
    started = time.perf_counter()
    study.optimize(objective, n_trials=trials, n_jobs=2)
    return time.perf_counter() - started


def _suggest(trial: optuna.Trial, name: str, distribution: optuna.distributions.BaseDistribution) -> Any:
    if isinstance(distribution, optuna.distributions.IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
    assert isinstance(distribution, optuna.distributions.CategoricalDistribution)
    return trial.suggest_categorical(name, distribution.choices)


def run_tune(folder: Path, trials: int) -> float:
    """Seconds of Ray Tune with OptunaSearch on SQLite, two at a time; Ray itself is started before the clock."""
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    distributions = distributions_of(make_nano().genes)

    def trainable(params: dict[str, Any]) -> None:
        top1, macs = evaluate_theirs(make_nano(), params)
        tune.report({"top1": top1, "macs": macs})

    search = OptunaSearch(
        space=distributions,
        metric=["top1", "macs"],
        mode=["max", "min"],
        study_name=f"tune-{uuid.uuid4()}",
        sampler=optuna.samplers.TPESampler(seed=0, multivariate=True),
        storage=optuna.storages.RDBStorage(f"sqlite:///{folder}/tune.db"),
    )
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        ray.get(ray.remote(lambda: None).remote())
        started = time.perf_counter()
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(search_alg=search, num_samples=trials, max_concurrent_trials=2),
            run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
        )
        results = tuner.fit()
        seconds = time.perf_counter() - started
        assert results.num_terminated == trials, results.errors
        return seconds
    finally:
        ray.shutdown()


def seed_study(folder: Path, trials: int) -> None:
    """Record finished trials of distinct architectures, as a search would have, but fast."""
    config = config_for(folder, trials)
    space = make_nano()
    storage = optuna.storages.RDBStorage(config.storage, engine_kwargs=engine_kwargs(config.storage))
    study = optuna.create_study(study_name=config.study, storage=storage, directions=["maximize", "minimize"])
    study.set_metric_names(list(config.objectives))
    record = _record(config, space)
    keeper = FrontKeeper("latency_ms", record.reference_point)
    distributions = distributions_of(space.genes)
    rng = np.random.default_rng(0)
    seen = set[str]()
    with contextlib.closing(open_store(config.storage)) as store:
        store.create_study(record)
        while len(seen) < trials:
            genotype = space.sample(rng)
            architecture = space.architecture(genotype)
            if architecture.arch_hash in seen:
                continue
            facts = _facts(len(seen), genotype, space)
            seen.add(architecture.arch_hash)
            values = [facts.top1, facts.cost("latency_ms")]
            study.add_trial(optuna.trial.create_trial(params=genotype, distributions=distributions, values=values))
            store.record(config.study, facts, keeper.add(facts))
    storage.engine.dispose()


def _record(config: SearchConfig, space: SearchSpace) -> StudyRecord:
    return StudyRecord(
        name=config.study,
        uid=uuid.uuid4().hex,
        space=space.name,
        space_module="",
        scale=space.scale,
        mixers=mixers_of(space),
        space_hash=space.space_hash,
        objectives=config.objectives,
        reference_point=(0.1, 2.0),
        data="none",
        data_location="none",
        data_fingerprint="none",
        recipe=RECIPE,
        target=TARGET,
        limits={},
        seed=0,
        device="cpu",
        artifacts="",
        config={},
        code_version="benchmark",
        created=datetime.now(UTC),
    )


def _facts(number: int, genotype: Genotype, space: SearchSpace) -> TrialFacts:
    architecture = space.architecture(genotype)
    return TrialFacts(
        trial_number=number,
        arch_hash=architecture.arch_hash,
        spec=architecture.to_spec(),
        layout=architecture.layout(),
        costs=space.costs(architecture),
        seed=0,
        state="COMPLETE",
        latency=InstantEvaluator._latency(0.1 + score_of(7 * number)),
        rungs=(RungScore(rung=0, steps=1, top1=score_of(number), loss=1.0, duration_s=0.0),),
    )


def main() -> None:
    """Run all parts and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument(
        "--tune-trials", type=int, default=30, help="fewer, because each takes seconds; 0 leaves Ray Tune out"
    )
    parser.add_argument("--resume-trials", type=int, default=10_000, help="0 leaves the resume out")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    num_genes = len(make_nano().genes)
    print(
        f"overhead per trial, evaluation returns at once, {num_genes} genes of hybrid_layout nano, SQLite, "
        f"{os.cpu_count()} cores"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, seconds = run_ours(folder, arguments.trials)
        _print_row("ours (distinct trials, facts, fronts, drawings)", arguments.trials, seconds)
        _print_row("optuna study.optimize(n_jobs=2)", arguments.trials, run_optuna(folder, arguments.trials))
        if arguments.tune_trials:
            _print_row(
                "ray tune with OptunaSearch, 2 at a time",
                arguments.tune_trials,
                run_tune(folder, arguments.tune_trials),
            )
    if arguments.resume_trials:
        with tempfile.TemporaryDirectory() as name:
            _print_resume(Path(name), arguments.resume_trials)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"peak memory of this process {peak_bytes / 2**20:.0f} MiB")


def _print_row(name: str, trials: int, seconds: float) -> None:
    print(f"{name:<50} {trials:>6} trials {seconds:>8.1f} s {1000 * seconds / trials:>9.1f} ms per trial", flush=True)


def _print_resume(folder: Path, trials: int) -> None:
    seed_study(folder, trials)
    ready_s, loop_s = run_ours(folder, trials + 1)
    print(
        f"resume of {trials} recorded trials: {ready_s:.1f} s until the first ask; the next trial took {loop_s:.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
