"""What many people at the service cost a search on the same machine, and how long they wait.

    python -m benchmarks.service_load --rows load.jsonl [--pairs 3] [--trials 40]

A pair is two searches of the same architectures, one after the other: one alone, one beside a service whose clients
look at a study of 10,000 trials in the same SQLite file. That study grows meanwhile, so that there are events. Search,
service and clients share the cores of this machine, and what each took is printed. Rows are appended, and what is there
is not measured again.

Trials per minute are those between the first trial and the last but two, by the times of their rows. Latencies are
those of the searches themselves, compared by architecture: how many medians beside the load lie within the interval
that the search alone gave, and the median of their ratios. The same of two searches that both ran alone, from different
pairs, says what the pace of the machine does to it without any load.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from itertools import permutations
from pathlib import Path

import numpy as np
import psutil

from benchmarks.rows import append_row, read_rows
from benchmarks.store import NUM_TRIALS, REFERENCE, STUDY, make_trial, study_record
from db.engine import engine_kwargs
from db.store import SqlStore, open_store
from nas.pareto.front import FrontKeeper
from nas.records import JSON
from nas.search.study import open_optuna_storage

ROOT = Path(__file__).resolve().parents[1]
REST = 2
"""Trials at the end of a search that do not count: some worker may have nothing left to do then."""
GROWS_S = 5.0
"""Between two trials of the study that is looked at."""
START_S = 180.0
NAMES = {False: "alone", True: "beside the load"}


class Growing:
    """The study that everybody looks at."""

    def __init__(self, store: SqlStore, num_trials: int) -> None:
        self._store = store
        self._rng = np.random.default_rng(0)
        self._keeper = FrontKeeper("latency_ms", REFERENCE)
        self._number = 0
        self._ended = threading.Event()
        store.create_study(study_record())
        for _ in range(num_trials):
            self.add()

    def add(self) -> None:
        """One more trial."""
        trial = make_trial(self._number, self._rng)
        self._store.record(STUDY, trial, self._keeper.add(trial))
        self._number += 1

    @contextlib.contextmanager
    def growing(self) -> Iterator[None]:
        """One more every GROWS_S meanwhile."""
        self._ended.clear()
        thread = threading.Thread(target=self._grow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _grow(self) -> None:
        while not self._ended.wait(GROWS_S):
            self.add()


def environment(folder: Path) -> dict[str, str]:
    """One for all processes: their own folder of temporary files, and their own database."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder),
        "NAS_STORAGE": f"sqlite:///{folder}/nas.db",
    }


@contextlib.contextmanager
def started(command: Sequence[str], folder: Path, output: Path, **given: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is asked to end afterwards."""
    variables = {**environment(folder), **given}
    with output.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def launch(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "launch.py"), *words]


def until(holds: Callable[[], object], process: subprocess.Popen[bytes], output: Path, limit_s: float) -> None:
    """Wait for something that a process does; ends the benchmark if it does not."""
    end = time.monotonic() + limit_s
    while not holds():
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"error: {process.args} came to nothing:\n{output.read_text(errors='replace')[-3000:]}")
        time.sleep(0.2)


@contextlib.contextmanager
def loaded(folder: Path, study: Growing, options: argparse.Namespace) -> Iterator[JSON]:
    """The service and its clients meanwhile; what they saw and took stands in the result afterwards."""
    found: JSON = {}
    output = folder / "service.out"
    serve = launch("serve", "--port", "0", "--zoo", str(folder / "zoo"), "--requests-per-s", "1000")
    with started(serve, folder, output) as service, study.growing():
        until(lambda: "serving on http://" in output.read_text(), service, output, START_S)
        port = output.read_text().partition("serving on http://127.0.0.1:")[2].partition(";")[0]
        seen = folder / "clients.out"
        words = {"--port": port, "--study": STUDY, "--trials": str(options.recorded), "--clients": str(options.clients)}
        words |= {"--every-s": str(options.every_s), "--after": place_of(port, options.token)}
        command = [sys.executable, "-m", "benchmarks.service_clients"]
        for word, value in words.items():
            command += [word, value]
        with started(command, folder, seen, NAS_TOKEN=options.token):
            before_s = work_s(service.pid)
            begun = time.monotonic()
            yield found
            found["lasted_s"] = time.monotonic() - begun
            found["service_cpu_s"] = work_s(service.pid) - before_s
    found |= json.loads(seen.read_text())


def place_of(port: str, secret: str) -> str:
    """Id of the last event of the study, as its page tells its script."""
    with closing(http.client.HTTPConnection("127.0.0.1", int(port), timeout=START_S)) as connection:
        connection.request("GET", f"/studies/{STUDY}", headers={"Authorization": f"Bearer {secret}"})
        response = connection.getresponse()
        page = response.read().decode()
    if response.status != 200:
        raise SystemExit(f"error: the page of the study answers {response.status}")
    return page.partition('data-after="')[2].partition('"')[0]


def work_s(pid: int) -> float:
    """Processor time of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def token(folder: Path) -> str:
    """A token of somebody who looks."""
    command = launch("token", "add", "people", "--role", "viewer")
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def searched(folder: Path, name: str, budget: int, workers: int) -> None:
    """Run a search; ends the benchmark if it fails."""
    words = ["--space", "hybrid_layout", "--budget", str(budget), "--study", name, "--workers", str(workers)]
    output = folder / f"{name}.out"
    with started(launch(*words, "--sampler", "random", "--seed", "0", "--quiet"), folder, output) as process:
        if process.wait() != 0:
            raise SystemExit(f"error: the search {name} failed:\n{output.read_text(errors='replace')[-3000:]}")


def trials_of(folder: Path, name: str) -> list[JSON]:
    """What a search recorded, in the order in which its trials ended."""
    query = """
        SELECT trainings.recorded, arch_hash, median_ms, ci_low_ms, ci_high_ms
        FROM trainings JOIN nas_studies ON nas_studies.id = study_id
        JOIN architectures ON architectures.id = trainings.architecture_id
        LEFT JOIN latencies ON latencies.id = latency_id
        WHERE nas_studies.name = ? AND state IN ('COMPLETE', 'PRUNED') ORDER BY trainings.id
    """
    with closing(sqlite3.connect(folder / "nas.db", timeout=30)) as connection:
        names = ("recorded", "arch_hash", "median_ms", "low_ms", "high_ms")
        connection.row_factory = lambda _, row: dict(zip(names, row, strict=True))
        return connection.execute(query, (name,)).fetchall()


def half(folder: Path, study: Growing, pair: int, is_loaded: bool, options: argparse.Namespace) -> JSON:
    """One search, alone or beside the load."""
    name = f"pair{pair}-{'loaded' if is_loaded else 'alone'}"
    beside = loaded(folder, study, options) if is_loaded else contextlib.nullcontext({})
    with beside as load:
        searched(folder, name, options.trials + REST, options.workers)
    trials = trials_of(folder, name)
    first, *_, last = (datetime.fromisoformat(trial["recorded"]) for trial in trials[: options.trials])
    return {
        "pair": pair,
        "is_loaded": is_loaded,
        "clients": options.clients,
        "recorded": options.recorded,
        "trials": options.trials,
        "per_minute": 60 * (options.trials - 1) / (last - first).total_seconds(),
        "latencies": {trial["arch_hash"]: trial for trial in trials},
        "load": load,
    }


def measure(rows: Path, options: argparse.Namespace) -> None:
    """Append the halves that are not there yet, alone and loaded in turn; every second pair begins with the load."""
    wanted = [(pair, pair % 2 == 1) for pair in range(options.pairs)]
    wanted += [(pair, pair % 2 == 0) for pair in range(options.pairs)]
    wanted.sort(key=lambda each: each[0])  # and each pair as it stands here
    done = {(row["pair"], row["is_loaded"]) for row in read_rows(rows)}
    left = [each for each in wanted if each not in done]
    if not left:
        return
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="l", dir="/tmp") as text:
        folder = Path(text)
        print(f"recording a study of {options.recorded:,} trials", flush=True)
        url = f"sqlite:///{folder}/nas.db"
        with closing(open_store(url)) as store:
            open_optuna_storage(url, engine_kwargs(url)).engine.dispose()  # makes the tables that a search looks for
            study = Growing(store, options.recorded)
            options.token = token(folder)
            for pair, is_loaded in left:
                row = half(folder, study, pair, is_loaded, options)
                append_row(rows, row)
                print(f"pair {pair}, {NAMES[is_loaded]}: {row['per_minute']:.2f} trials a minute", flush=True)


def load_line(row: JSON) -> str:
    """How long the clients of one half waited, and what the processes took."""
    load = row["load"]
    taken = sorted(ms for _, ms in load["taken_ms"])
    errors = sum(load["errors"].values())
    per_s = [load[name] / load["lasted_s"] * 1e3 for name in ("service_cpu_s", "clients_cpu_s")]
    cells = [str(row["pair"]), f"{len(taken):,}", str(errors), f"{load['events']:,}"]
    cells += [f"{ms:.0f}" for ms in (statistics.median(taken), quantile(taken, 0.95), taken[-1])]
    return f"| {' | '.join(cells)} | {per_s[0]:.0f}, {per_s[1]:.0f} |"


def quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def kinds_lines(rows: Sequence[JSON]) -> list[str]:
    """The same by what was asked, all halves together."""
    taken: dict[str, list[float]] = {}
    for row in rows:
        for what, ms in row["load"]["taken_ms"]:
            taken.setdefault(what, []).append(ms)
    lines = ["| asked | answers | median, ms | 95 %, ms | worst, ms |", "|---|---|---|---|---|"]
    for what, values in sorted(taken.items()):
        ordered = sorted(values)
        numbers = [f"{ms:.0f}" for ms in (statistics.median(ordered), quantile(ordered, 0.95), ordered[-1])]
        lines.append(f"| {what} | {len(ordered)} | {' | '.join(numbers)} |")
    return lines


def pair_line(alone: JSON, loaded: JSON) -> str:
    """Rates and latencies of one pair."""
    change = 100 * (loaded["per_minute"] / alone["per_minute"] - 1)
    cells = [str(alone["pair"]), f"{alone['per_minute']:.2f}", f"{loaded['per_minute']:.2f}", f"{change:+.1f} %"]
    return f"| {' | '.join([*cells, *agreement_cells(alone, loaded)])} |"


def control_line(alone: JSON, other: JSON) -> str:
    """Latencies of two searches that ran alone."""
    cells = [f"{alone['pair']} and {other['pair']}, both alone", "", "", "", *agreement_cells(alone, other)]
    return f"| {' | '.join(cells)} |"


def agreement_cells(first: JSON, second: JSON) -> list[str]:
    """How many medians of the second search lie in the intervals of the first, and the median of their ratios."""
    common = first["latencies"].keys() & second["latencies"].keys()
    ratios = [second["latencies"][key]["median_ms"] / first["latencies"][key]["median_ms"] for key in common]
    inside = [is_inside(second["latencies"][key], first["latencies"][key]) for key in common]
    return [f"{sum(inside)} of {len(inside)}", f"{statistics.median(ratios):.3f}"]


def is_inside(timing: JSON, other: JSON) -> bool:
    """Whether a median lies in the interval of the other timing."""
    return bool(other["low_ms"] <= timing["median_ms"] <= other["high_ms"])


def show(rows: Sequence[JSON]) -> None:
    """Print the tables; errors first, if there were any."""
    halves = {(row["pair"], row["is_loaded"]): row for row in rows}
    with_load = [row for row in rows if row["is_loaded"]]
    for row in with_load:
        for error, count in row["load"]["errors"].items():
            print(f"pair {row['pair']}: {count} times {error}")
    if with_load:
        print("\n".join(kinds_lines(with_load)))
        print("\n| pair | answers | errors | events | median, ms | 95 %, ms | worst, ms | service, clients: ms a s |")
        print(f"|{'---|' * 8}")
        print("\n".join(map(load_line, with_load)))
    print("\n| pair | alone, trials/min | beside the load | change | medians within the interval | ratio of medians |")
    print(f"|{'---|' * 6}")
    for pair in sorted({row["pair"] for row in rows}):
        if (pair, False) in halves and (pair, True) in halves:
            print(pair_line(halves[pair, False], halves[pair, True]))
    alone = [row for row in rows if not row["is_loaded"]]
    for first, second in permutations(alone, 2):
        print(control_line(first, second))


def main() -> None:
    """Measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rows", type=Path, required=True, help="File of the measurements, continued if it is there.")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--trials", type=int, default=40, help="That count, in each search.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--recorded", type=int, default=NUM_TRIALS, help="Trials of the study that is looked at.")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--every-s", type=float, default=2.0, help="Between two requests of a client.")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before the last half"))  # with all that it has started
    measure(options.rows, options)
    show(read_rows(options.rows))


if __name__ == "__main__":
    main()
