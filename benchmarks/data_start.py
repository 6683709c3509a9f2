"""How long a search on a folder of small JPEGs takes to its first evaluation, and what memory its workers share.

    python -m benchmarks.data_start --images cifar10_subset.tar [--against DIR] [--workers 1 2 4]

The archive holds train/CLASS/ and val/CLASS/ with small JPEGs. Every start is a search of its own in a process of its
own. Cold: on an empty cache. Warm: on the one that the start before has left. The first evaluation starts when the
workers are ready and calibrated; the search is ended then by SIGINT. Memory is the largest sum of PSS over all
processes of the search, looked at every second.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
RECIPE = {"rungs": [2000], "batch_size": 32, "learning_rate": 1e-3}
"""So long that the first evaluation does not end before memory was looked at."""
FIRST = "budget "
"""Begins the line that a search says before its first evaluation."""
SETTLED_S = 10.0
"""Training goes on for so long after that line, for the memory of workers that train."""
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """One search, ended soon after its first evaluation has started."""

    seconds: float
    """From the command to the first evaluation."""
    pss_bytes: int
    """The largest sum over its processes."""


def sum_of_pss(process: psutil.Process) -> int:
    """Bytes of a process and of all that it started; those that end meanwhile count nothing."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += each.memory_full_info().pss
    return total


def start(checkout: Path, data: Path, folder: Path, workers: int, options: Sequence[str]) -> Start:
    """Search until the first evaluation has gone on for a while.

    Args:
        checkout: whose launch.py is run.
        data: folder of images.
        folder: of the database and the recipe.
        options: further ones of the command line.

    Raises:
        RuntimeError: if the search ends before.
    """
    folder.mkdir(parents=True)
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps(RECIPE), encoding="utf-8")
    command = [
        *(sys.executable, "launch.py", "--space", "hybrid_layout", "--budget", "100", "--objectives", "top1,macs"),
        *("--warm-start", "none", "--sampler", "random", "--workers", str(workers), "--recipe", str(recipe)),
        *("--data", f"folder:{data}", "--storage", f"sqlite:///{folder / 'nas.db'}", "--study", "start", *options),
    ]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONUNBUFFERED": "1"}
    began = time.monotonic()
    with subprocess.Popen(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True) as process:
        largest = [0]
        ended = threading.Event()
        looking = threading.Thread(target=_look, args=(psutil.Process(process.pid), ended, largest))
        looking.start()
        seconds = _until_first(process, began)
        time.sleep(SETTLED_S)
        ended.set()
        looking.join()
        process.send_signal(signal.SIGINT)
        process.communicate()
    return Start(seconds, largest[0])


def _until_first(process: "subprocess.Popen[str]", began: float) -> float:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(FIRST):
            return time.monotonic() - began
    raise RuntimeError(f"the search ended before its first evaluation, with exit code {process.wait()}")


def _look(process: psutil.Process, ended: threading.Event, largest: list[int]) -> None:
    while not ended.wait(LOOK_S):
        largest[0] = max(largest[0], sum_of_pss(process))


def main() -> None:
    """Print a table, a line per start."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--images", type=Path, required=True, help="tar archive of train/CLASS/ and val/CLASS/")
    parser.add_argument("--against", type=Path, help="checkout of an earlier revision, measured beside this one")
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(options.images) as archive:
            archive.extractall(folder / "data", filter="data")
        print("revision  workers  start  seconds to the first evaluation  sum of PSS, MB", flush=True)
        for workers in options.workers:
            for what in ("cold", "warm"):
                cache = folder / f"cache-{workers}"
                measured = [("this", ROOT, ["--cache", str(cache)])]
                if options.against is not None:
                    measured.insert(0, ("earlier", options.against.resolve(), []))
                for revision, checkout, words in measured:
                    run = folder / f"{revision}-{workers}-{what}"
                    found = start(checkout, folder / "data", run, workers, words)
                    print(
                        f"{revision:8}  {workers:7}  {what:5}  {found.seconds:31.1f}  {found.pss_bytes / 1e6:14.0f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
