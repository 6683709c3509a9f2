"""Does a second timing say the same? Random architectures are timed twice; between the two may lie an hour of other
work.

    python -m benchmarks.repeatability first.json
    python -m benchmarks.repeatability second.json --first first.json

The second call times the architectures of the first again and compares. `--neighbour` runs trainings beside, which give
way to the timing by the device lock; `--neighbour --without-lock` lets the timing hold another lock than the trainings,
for contrast.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kendalltau

from nas.protocols import Finished, Job
from nas.records import JSON, Latency
from search_spaces.build import build_model
from search_spaces.registry import make_space
from workers.data.registry import open_data
from workers.devices import default_gpus_per_worker, device_of_worker
from workers.evaluate import EvaluationContext, evaluate
from workers.evaluation import EvaluationConfig
from workers.latency.device_lock import DeviceLock, device_identity
from workers.latency.measure import measure
from workers.latency.target import LatencyTarget, default_target
from workers.training.recipes import default_recipe


def draw_specs(space: str, scale: str, data: str, count: int, seed: int) -> list[JSON]:
    """Specs of random, distinct architectures."""
    source = open_data(data)
    rng = np.random.default_rng(seed)
    made = make_space(space, scale, source.image_size, source.in_chans, source.num_classes)
    found: dict[str, JSON] = {}
    while len(found) < count:
        architecture = made.architecture(made.sample(rng))
        found[architecture.arch_hash] = architecture.to_spec()
    return list(found.values())


def time_all(specs: Sequence[JSON], target: LatencyTarget, data: str, lock: DeviceLock) -> list[Latency]:
    shape = open_data(data).input_shape
    return [measure(build_model(spec), target, shape, lock) for spec in specs]


@contextmanager
def training_neighbour(spec: JSON, data: str) -> Iterator[None]:
    """Another process trains this architecture over and over, under the locks of this host."""
    context = multiprocessing.get_context("spawn")
    trains = context.Event()
    process = context.Process(target=_train_for_ever, args=(spec, data, trains), daemon=True)
    process.start()
    try:
        while not trains.wait(1.0):
            if not process.is_alive():
                raise RuntimeError("the training neighbour does not start")
        yield
        if not process.is_alive():
            raise RuntimeError("the training neighbour ended before the timing did")
    finally:
        process.kill()
        process.join()


def _train_for_ever(spec: JSON, data: str, trains: Event) -> None:
    device = device_of_worker(default_gpus_per_worker(1))
    context = EvaluationContext(EvaluationConfig(data=data, recipe=default_recipe(open_data(data)), device=device))
    while True:
        events = evaluate(Job(0, spec, seed=0), context)
        event = next(events)
        trains.set()
        while not isinstance(event, Finished):
            event = next(events)


def compare(first: Sequence[JSON], second: Sequence[JSON]) -> JSON:
    """How well the second timings repeat the first.

    Returns:
        pairs with disjoint intervals in the first, the share of them that keep their order; the share of second medians
        within the first's interval; Kendall's tau; median and largest relative difference; the median relative
        half-width of the first's intervals.
    """
    before = np.array([latency["median_ms"] for latency in first])
    after = np.array([latency["median_ms"] for latency in second])
    low = np.array([latency["ci_low_ms"] for latency in first])
    high = np.array([latency["ci_high_ms"] for latency in first])
    disjoint = [(a, b) for a, b in itertools.permutations(range(len(before)), 2) if high[a] < low[b]]
    difference = np.abs(after / before - 1)
    return {
        "architectures": len(before),
        "disjoint_pairs": len(disjoint),
        "order_kept": float(np.mean([after[a] < after[b] for a, b in disjoint])) if disjoint else None,
        "within_interval": float(np.mean((low <= after) & (after <= high))),
        "tau": float(kendalltau(before, after).statistic),
        "median_difference": float(np.median(difference)),
        "largest_difference": float(difference.max()),
        "half_width": float(np.median((high - low) / 2 / before)),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--first", type=Path, help="JSON file of an earlier call, whose architectures are timed again")
    parser.add_argument("--architectures", type=int, default=20)
    parser.add_argument("--target", default=default_target())
    parser.add_argument("--space", default="hybrid_layout")
    parser.add_argument("--scale", default="nano")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of architectures")
    parser.add_argument("--neighbour", action="store_true", help="trainings run beside")
    parser.add_argument("--without-lock", action="store_true", help="the timing does not exclude the neighbour")
    return parser.parse_args()


def main() -> None:
    """Time, write, and compare if there is something to compare with."""
    options = _options()
    first = json.loads(options.first.read_text()) if options.first else None
    target = LatencyTarget.parse(first["target"] if first else options.target)
    data = first["data"] if first else options.data
    specs = (
        first["specs"] if first else draw_specs(options.space, options.scale, data, options.architectures, options.seed)
    )
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="repeatability-locks-")) if options.without_lock else None
    lock = DeviceLock(device_identity(target.device), folder)
    started = time.monotonic()
    load = os.getloadavg()[0]
    if options.neighbour:
        with training_neighbour(specs[len(specs) // 2], data):
            latencies = time_all(specs, target, data, lock)
    else:
        latencies = time_all(specs, target, data, lock)
    rows = [asdict(latency) for latency in latencies]
    setting = {"target": str(target), "data": data, "neighbour": options.neighbour, "lock": not options.without_lock}
    result = {**setting, "measured": datetime.now(UTC).isoformat(timespec="seconds"), "specs": specs, "latencies": rows}
    options.output.write_text(json.dumps(result))
    others = np.median([row["conditions"]["other_busy_cores"] for row in rows])
    converged = np.mean([row["conditions"]["converged"] for row in rows])
    print(f"{len(rows)} architectures on {target}, neighbour {options.neighbour}, lock {not options.without_lock}")
    each = (time.monotonic() - started) / len(rows)
    print(f"{each:.2f} s each; load {load:.1f}, {others:.1f} cores busy with others, {converged:.0%} converged")
    if first:
        print(f"first timed {first['measured']}, now {result['measured']}")
        for name, value in compare(first["latencies"], rows).items():
            print(f"{name:<20} {value if value is None or isinstance(value, int) else round(value, 4)}")


if __name__ == "__main__":
    main()
