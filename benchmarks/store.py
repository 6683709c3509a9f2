"""Times of the store at 10,000 recorded trials: recording one with its front, reading the front, reading all facts.

    python -m benchmarks.store [URL]

Without URL: a new SQLite file in a temporary folder. The URL's database must not hold the study "benchmark" yet; the
rows stay there. Trials are as large as those of hybrid_layout: an architecture of four stages, one latency, two rungs.
"""

import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from db.engine import redact_url
from db.store import SqlStore, open_store
from nas.pareto.front import FrontKeeper
from nas.records import Costs, Front, Latency, RungScore, StudyRecord, TrialFacts

NUM_TRIALS = 10_000
NUM_TIMED = 200
STUDY = "benchmark"
REFERENCE = (0.1, 200.0)
TARGET = {
    "kind": "cpu",
    "device_name": "a processor",
    "runtime": "torch",
    "runtime_version": "2.15",
    "threads": 1,
    "batch": 1,
    "dtype": "float32",
    "image_size": 32,
}


def make_trial(number: int, rng: np.random.Generator) -> TrialFacts:
    """A trial whose accuracy saturates with its latency, with noise: fronts of a few dozen members, as in a real
    search."""
    stage = {
        "depth": 3,
        "width": 96,
        "mixer": "group_mix",
        "group_sizes": [1, 3, 5, 7],
        "ratio": 4,
        "head_dim": 24,
        "norm": "layer",
    }
    median_ms = float(np.exp(rng.uniform(0.0, 5.0)))
    top1 = float(np.clip(0.9 - 0.7 / (1.0 + median_ms / 5.0) + rng.normal(0.0, 0.03), 0.0, 1.0))
    return TrialFacts(
        trial_number=number,
        arch_hash=f"{number:064x}",
        spec={
            "stages": [{**stage, "blocks": ["mbconv", "group_mix"] * 3} for _ in range(4)],
            "image_size": 32,
            "number": number,
        },
        layout="stem conv | mbconv x3 w48 | alternate x3 w96 | group_mix x3 w192 | full x3 w384",
        costs=Costs(param_count=int(1e6 * median_ms), macs=int(1e7 * median_ms)),
        seed=0,
        state="COMPLETE",
        latency=Latency(
            TARGET, {"host": "host", "load": 0.5}, median_ms, 0.95 * median_ms, 1.05 * median_ms, 1.2 * median_ms, 50
        ),
        rungs=(RungScore(0, 128, 0.7 * top1, 2.0, 2.5), RungScore(1, 256, top1, 1.5, 5.0)),
        device="cpu",
        worker="worker-0",
        duration_s=6.0,
    )


def timed_record(store: SqlStore, keeper: FrontKeeper, trial: TrialFacts) -> tuple[float, Front | None]:
    """Milliseconds from the trial's end to its recorded facts and front, and that front."""
    start = time.perf_counter()
    front = keeper.add(trial)
    store.record(STUDY, trial, front)
    return 1e3 * (time.perf_counter() - start), front


def summary(times_ms: list[float]) -> str:
    ordered = sorted(times_ms)
    return (
        f"median {statistics.median(ordered):7.2f} ms   99 % {ordered[99 * len(ordered) // 100]:7.2f} ms   worst "
        f"{ordered[-1]:7.2f} ms"
    )


def time_front_updates(store: SqlStore, keeper: FrontKeeper, rng: np.random.Generator) -> list[float]:
    """Record trials that each change the front, then read the front: what one improvement costs in the loop."""
    times_ms = []
    for number in range(NUM_TRIALS, NUM_TRIALS + NUM_TIMED):
        best = keeper.members[-1]
        better = make_trial(number, rng)
        score = RungScore(1, 256, best.top1 + 1e-4, 1.5, 5.0)
        assert better.latency is not None
        slower = Latency(
            TARGET, {}, best.cost * 1.001, best.cost, best.cost * 1.01, best.cost * 1.1, better.latency.samples
        )
        recorded_ms, front = timed_record(store, keeper, replace(better, latency=slower, rungs=(score,)))
        start = time.perf_counter()
        assert store.front(STUDY) == front
        times_ms.append(recorded_ms + 1e3 * (time.perf_counter() - start))
    return times_ms


def study_record() -> StudyRecord:
    return StudyRecord(
        name=STUDY,
        uid=uuid.uuid4().hex,
        space="space",
        space_module="",
        scale="nano",
        mixers="",
        space_hash="0",
        objectives=("top1", "latency_ms"),
        reference_point=REFERENCE,
        data="digits",
        data_location="digits",
        data_fingerprint="0",
        recipe={},
        target=TARGET,
        limits={},
        seed=0,
        device="cpu",
        artifacts="",
        config={},
        code_version="benchmark",
        created=datetime.now(UTC),
    )


def run(url: str) -> None:
    """Print the table for one database."""
    rng = np.random.default_rng(0)
    keeper = FrontKeeper("latency_ms", REFERENCE)
    store = open_store(url)
    store.create_study(study_record())
    print(f"database                      {redact_url(url)}")
    seeding_ms = [timed_record(store, keeper, make_trial(number, rng))[0] for number in range(NUM_TRIALS)]
    print(f"record, first {NUM_TRIALS}          {summary(seeding_ms)}")
    print(
        f"record + front + read front   {summary(time_front_updates(store, keeper, rng))}   {len(keeper.members)} "
        "members"
    )
    for name, read in {
        "facts": lambda: list(store.facts(STUDY)),
        "check_fronts": lambda: store.check_fronts(STUDY),
    }.items():
        start = time.perf_counter()
        found = read()
        print(f"{name:<29} {time.perf_counter() - start:15.2f} s    {len(found)} rows")
    store.close()
    start = time.perf_counter()
    open_store(url).close()
    print(f"open and close                {1e3 * (time.perf_counter() - start):15.2f} ms")


def main() -> None:
    if len(sys.argv) > 1:
        run(sys.argv[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        run(f"sqlite:///{Path(folder) / 'nas.db'}")


if __name__ == "__main__":
    main()
