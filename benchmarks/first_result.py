"""From the command to the first evaluated architecture, on `digits`, in seconds.

    python -m benchmarks.first_result --against ../earlier [--until "first line" --runs 10]

Each run is a whole `launch.py --space hybrid_layout` in a new folder, with its files and its Ray in folders of their
own. Runs of this checkout and of the other alternate. The phases are read from what every revision shows: the command's
lines, and the processes and files of its Ray. Bytecode is warm: one run of each, which does not count, comes first.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

WORK = "processor time until then"
"""Seconds of all processes together, which other work on the machine hardly changes."""
PHASES = ("first line", "Ray is up", "a worker is ready", "calibrated", "first evaluated")
TIMEOUT_S = 900.0
POLL_S = 0.1
HERE = Path(__file__).resolve().parent.parent


def main() -> None:
    """Print a table of medians, and the ratio last."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--against", type=Path, help="A checkout of an earlier revision.")
    parser.add_argument("--runs", type=int, default=3, help="That count, of each.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--until", choices=PHASES, default=PHASES[-1], help="End each run there.")
    options = parser.parse_args()
    phases = PHASES[: PHASES.index(options.until) + 1]
    checkouts = [HERE, *([options.against.resolve()] if options.against else [])]
    runs: dict[Path, list[Mapping[str, float]]] = {checkout: [] for checkout in checkouts}
    for number in range(options.runs + 1):
        for checkout in checkouts:
            measured = run_once(checkout, options.workers, phases)
            took = "  ".join(f"{what} {seconds:.2f}" for what, seconds in measured.items())
            print(f"{'warm-up' if number == 0 else f'run {number}'} of {checkout}: {took}", flush=True)
            if number:
                runs[checkout].append(measured)
    print_table([runs[checkout] for checkout in checkouts], phases)


def run_once(checkout: Path, workers: int, phases: Sequence[str]) -> Mapping[str, float]:
    """Seconds from the start of the command to each phase."""
    # Ray's sockets need a short path, and a Ray of another revision shares no folder with this one's.
    with tempfile.TemporaryDirectory(prefix="f", dir="/tmp") as folder:
        environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONUNBUFFERED": "1", "TMPDIR": folder}
        command = [sys.executable, str(checkout / "launch.py"), "--space", "hybrid_layout", "--budget", "20"]
        command += ["--workers", str(workers)]
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines: list[tuple[float, str]] = []
        reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
        reader.start()
        try:
            seen = _watch(process, lines, Path(folder), phases)
            work_s = _work_s(process.pid)
        finally:
            process.terminate()  # it cleans up after itself
            process.wait(timeout=TIMEOUT_S)
            reader.join()
    if set(seen) != set(phases):
        said = "\n".join(line for _, line in lines)
        raise SystemExit(f"error: {checkout} came no further than {', '.join(seen) or 'its start'}; it said:\n{said}")
    return {**{phase: moment - started for phase, moment in seen.items()}, WORK: work_s}


def _read(process: subprocess.Popen[str], lines: list[tuple[float, str]]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.append((time.monotonic(), line.rstrip()))


def _watch(
    process: subprocess.Popen[str], lines: list[tuple[float, str]], folder: Path, phases: Sequence[str]
) -> dict[str, float]:
    """Phase -> monotonic moment; ends with the last phase or the process."""
    found: dict[str, Callable[[], float | None]] = {
        "first line": lambda: _line(lines, ""),
        "Ray is up": lambda: _now(any(folder.glob("nas-ray-*/ray/session_*/sockets/raylet"))),
        "a worker is ready": lambda: _now(_calibrates(process.pid)),
        "calibrated": lambda: _line(lines, "space hybrid_layout at scale"),
        "first evaluated": lambda: _line(lines, "evaluated "),
    }
    seen: dict[str, float] = {}
    end = time.monotonic() + TIMEOUT_S
    while len(seen) < len(phases) and process.poll() is None and time.monotonic() < end:
        for phase in phases:
            if phase not in seen and (moment := found[phase]()) is not None:
                seen[phase] = moment
        time.sleep(POLL_S)
    return seen


def _line(lines: Sequence[tuple[float, str]], beginning: str) -> float | None:
    return next((moment for moment, line in list(lines) if line.startswith(beginning)), None)


def _now(reached: bool) -> float | None:
    return time.monotonic() if reached else None


def _calibrates(command: int) -> bool:
    """Whether a worker has begun to calibrate: Ray puts what it does into its title."""
    try:
        titles = [" ".join(child.cmdline()) for child in psutil.Process(command).children(recursive=True)]
    except psutil.Error:
        return False
    return any(title.startswith("ray::") and title.rstrip().endswith(".calibrate") for title in titles)


def _work_s(command: int) -> float:
    total_s = 0.0
    with suppress(psutil.Error):  # one that has just ended
        parent = psutil.Process(command)
        for process in (parent, *parent.children(recursive=True)):
            times = process.cpu_times()
            total_s += times.user + times.system
    return total_s


def print_table(columns: Sequence[Sequence[Mapping[str, float]]], phases: Sequence[str]) -> None:
    """Medians in seconds: one row per phase; this checkout, then the other and the ratio."""
    print(f"\n| medians of {len(columns[0])}, s | this |{' against | ratio |' * (len(columns) - 1)}")
    print(f"|---|{'---|' * (2 * len(columns) - 1)}")
    for phase in (*phases, WORK):
        medians = [_median(column, phase) for column in columns]
        cells = [f"{median:.2f}" for median in medians]
        if len(medians) > 1:
            cells.append(f"{medians[0] / medians[1]:.2f}")
        print(f"| {phase} | {' | '.join(cells)} |")


def _median(runs: Sequence[Mapping[str, float]], phase: str) -> float:
    return statistics.median(run[phase] for run in runs)


if __name__ == "__main__":
    main()
