"""Where the time of a trial goes beside its training: parts of the evaluation, waiting for the device lock, idling.

    python benchmarks/waits.py [--against DIR] [--repeats 1] [-- --budget 12 --sampler random --seed 0]

Runs whole searches with workers on Ray, those of another checkout (with --against) in turn with those of this one, each
in a process of its own. A row is a part of a trial in seconds, mean over the trials; every second that a worker spends
from its first job to its last belongs to one row. What waits for the device lock counts as waiting and not as the part
that it interrupts. The searches have device locks of their own, so no other search of this host is waited for.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SEARCH = "--space", "hybrid_layout", "--budget", "12", "--sampler", "random", "--seed", "0"
IDLE = "idle between two jobs"
MESSAGES = "messages and decisions within a job"
OTHER = "rest"
TRAINING = "training"
VALIDATION = "validation"
WAITS = {"shared": "waiting for others' timings", "exclusive": "waiting to time"}
ALONE = "timing, alone"
PARTS: Mapping[str, Mapping[str, str]] = {
    "workers.evaluate": {"_initial": "building the network", "free_memory": "memory given back"},
    "workers.latency.measure": {"_prepare": "timing prepared", "_prepare_reference": "reference prepared"},
    "workers.training.trainer": {
        "Trainer.__init__": "training prepared",
        "Trainer.advance": TRAINING,
        "Trainer.validate": VALIDATION,
        "Trainer.weights": "weights",
    },
}
"""Module -> what is timed there -> row."""
EARLIER = {
    "workers.latency.measure": "workers.latency",
    "workers.latency.device_lock": "workers.device_lock",
    "workers.training.trainer": "workers.train",
    "workers.cluster.actor": "workers.ray_worker",
    "workers.cluster.pool": "workers.ray_pool",
}
"""Where checkouts before the packages had rooms keep the same."""


class Stopwatch:
    """Seconds by part; every moment belongs to the innermost part that is open."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open = [IDLE]
        self._since = time.monotonic()

    def _credit(self) -> None:
        now = time.monotonic()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        self._credit()
        self._open.append(part)
        try:
            yield
        finally:
            self._credit()
            self._open.pop()

    def taken(self) -> dict[str, float]:
        """What there is since the last call."""
        self._credit()
        seconds = dict(self.seconds)
        self.seconds.clear()
        return seconds


def module_of(name: str) -> ModuleType:
    """A module of the checkout, whichever of the two layouts it has."""
    found = import_module("workers").__file__
    assert found is not None
    root = Path(found).parents[1]
    is_there = root.joinpath(*name.split(".")).with_suffix(".py").exists()
    return import_module(name if is_there else EARLIER[name])


def timed(owner: Any, name: str, watch: Stopwatch, part: str) -> None:
    """Let a function or a method count as this part."""
    first, _, rest = name.partition(".")
    if rest:
        timed(getattr(owner, first), rest, watch, part)
        return
    original = getattr(owner, name)

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        with watch.within(part):
            return original(*args, **kwargs)

    setattr(owner, name, call)


def timed_lock(lock: Any, mode: str, watch: Stopwatch) -> None:
    """Let waiting for the lock count as such."""
    original = getattr(lock, mode)

    @contextmanager
    def hold(self: Any) -> Iterator[float]:
        with ExitStack() as held:
            with watch.within(WAITS[mode]):
                waited_s = held.enter_context(original(self))
            with watch.within(ALONE) if mode == "exclusive" else nullcontext():
                yield waited_s

    setattr(lock, mode, hold)


def watched_work(folder: Path) -> Any:
    """What a worker runs: the real thing, with a stopwatch. Writes a file per worker, one line a trial, to the
    folder."""
    watch = Stopwatch()
    evaluation = module_of("workers.evaluate")
    for module, parts in PARTS.items():
        for name, part in parts.items():
            timed(module_of(module), name, watch, part)
    for mode in WAITS:
        timed_lock(module_of("workers.latency.device_lock").DeviceLock, mode, watch)
    work = module_of("workers.cluster.actor").training_work()
    evaluate = evaluation.evaluate

    def opened(config: Any, name: str) -> Any:
        return work.open(replace(config, lock_folder=str(folder)), name)

    def watched(job: Any, context: Any) -> Generator[Any, bool, None]:
        file = folder / f"{context.worker}.jsonl"
        if not file.exists():
            watch.taken()  # starting and calibrating are no trial
        events = evaluate(job, context)
        answer = None
        while True:
            with watch.within(OTHER):
                try:
                    event = events.send(answer)
                except StopIteration:
                    return
            if type(event).__name__ in ("Finished", "Failed"):
                with file.open("a") as lines:
                    lines.write(json.dumps(watch.taken()) + "\n")
                yield event
                continue
            with watch.within(MESSAGES):
                answer = yield event

    return replace(work, open=opened, evaluate=watched)


def search_inside(folder: Path, arguments: Sequence[str]) -> None:
    """Search in this process with the checkout in the current folder; its workers are watched."""
    sys.path.insert(0, os.getcwd())
    pool = module_of("workers.cluster.pool").RayPool
    pool.__init__.__kwdefaults__["make_work"] = partial(watched_work, folder)
    sys.argv = ["launch.py", *arguments]
    import_module("launch").main()


def search(checkout: Path, arguments: Sequence[str]) -> dict[str, float]:
    """Seconds of a search of this checkout by part, mean over its trials.

    Raises:
        RuntimeError: if the search failed.
    """
    with tempfile.TemporaryDirectory(prefix="waits-") as text:
        folder = Path(text)
        command = [sys.executable, str(Path(__file__).resolve()), "--inside", text, "--"]
        command += ["--storage", f"sqlite:///{text}/nas.db", "--quiet", *arguments]
        # Sessions of Ray that another version left in the usual place are none of its business.
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "TMPDIR": text}
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the search in {checkout} failed:\n{done.stdout}\n{done.stderr}")
        lines = "".join(file.read_text() for file in folder.glob("*.jsonl")).splitlines()
    trials = [trial for trial in map(json.loads, lines) if TRAINING in trial]  # the front is timed again at the end
    return mean(trials)


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each part over all rows."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row)
    return {part: seconds / len(rows) for part, seconds in total.items()}


def column_of(part: str, found: Mapping[str, Mapping[str, float]]) -> list[float]:
    return [seconds.get(part, 0.0) for seconds in found.values()]


def show(found: Mapping[str, Mapping[str, float]]) -> None:
    """Print the table: a column per checkout; with two of them the ratio of the first to the second last."""
    first = next(iter(found.values()))
    rows = {part: column_of(part, found) for part in sorted(first, key=first.__getitem__)}
    rows["whole trial"] = [sum(seconds.values()) for seconds in found.values()]
    rows["all but training and validation"] = [
        sum(seconds.values()) - seconds[TRAINING] - seconds[VALIDATION] for seconds in found.values()
    ]
    heads = [*found, "ratio"] if len(found) == 2 else [*found]
    print(f"{'seconds a trial':<36}" + "".join(f"{head:>10}" for head in heads))
    for part, values in rows.items():
        texts = [f"{value:.3f}" for value in values]
        if len(values) == 2:
            texts.append(f"{values[0] / values[1]:.2f}" if values[1] else "-")
        print(f"{part:<36}" + "".join(f"{text:>10}" for text in texts))


def main() -> None:
    """Search with both checkouts in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout, of this or an earlier layout")
    parser.add_argument("--repeats", type=int, default=1, help="searches of each checkout")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("search", nargs="*", help="options of the search, after --")
    options = parser.parse_args()
    if options.inside:
        search_inside(options.inside, options.search)
        return
    checkouts = {"this": ROOT} | ({"against": options.against.resolve()} if options.against else {})
    found: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(options.repeats):
        for name, checkout in checkouts.items():
            found[name].append(search(checkout, options.search or SEARCH))
    show({name: mean(rows) for name, rows in found.items()})


if __name__ == "__main__":
    main()
