"""The life of a local Ray: nothing of it outlives its coordinator, however that ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nas.errors import EvaluatorError, InvalidInputError
from nas.processes import is_alive
from nas.records import ProcessId
from tests.integration.quick_work import quick_pool
from workers.cluster.session_processes import SESSION_VARIABLE, end_processes

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]


def _survivors(processes: Sequence[ProcessId]) -> list[ProcessId]:
    """Those that still run, after a moment: what was killed takes a while to vanish."""
    deadline = time.monotonic() + 1
    while (alive := [process for process in processes if is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


COORDINATOR = """
import json, os, sys, time
from dataclasses import asdict
from nas.protocols import Failed, Job, LatencyMeasured
from workers.cluster.pool import RayPool
from workers.cluster.actor import Work

def evaluate(job, name):
    if job.trial_number:
        time.sleep(600)
    yield Failed(0, name, "up", False)

if __name__ == "__main__":
    pool = RayPool({}, num_workers=2, trial_timeout_s=600,
                   make_work=lambda: Work(lambda config, name: name, evaluate, None, lambda name: None))
    pool.submit(Job(0, {}, 0))
    while not pool.events(1.0):
        pass
    pool.submit(Job(1, {}, 0))
    try:
        print(json.dumps([pool.session_folder, [asdict(process) for process in pool.session_processes]]), flush=True)
        while True:
            pool.events(1.0)
    finally:
        pool.close()
        print("closed", flush=True)
"""


@pytest.fixture
def coordinator() -> Iterator[tuple[subprocess.Popen[str], str, list[ProcessId]]]:
    """Another coordinator with two workers, one of them at work."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", COORDINATOR], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    folder, processes = json.loads(process.stdout.readline())
    processes = [ProcessId(**identity) for identity in processes]
    yield process, folder, processes
    process.kill()
    process.communicate()
    end_processes(processes, folder)


@pytest.mark.parametrize("noted", [True, False], ids=["by its lease", "by the marks of its session"])
def test_a_killed_coordinator_can_be_cleaned_up_after(
    coordinator: tuple[subprocess.Popen[str], str, list[ProcessId]], noted: bool
) -> None:
    process, folder, processes = coordinator
    assert len(processes) >= 4
    assert _survivors(processes) == processes
    process.kill()
    process.wait()
    assert _survivors(processes), (
        "Ray's agents outlive the coordinator; if they no longer do, end_processes has lost its reason"
    )
    end_processes(processes if noted else (), folder)
    assert [identity for identity in processes if is_alive(identity)] == []
    assert not Path(folder).exists()


def test_an_interrupted_coordinator_closes_within_seconds(
    coordinator: tuple[subprocess.Popen[str], str, list[ProcessId]],
) -> None:
    process, folder, processes = coordinator
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert time.monotonic() - start < 8
    assert output == "closed\n", "nothing of Ray's on stdout"
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert [identity for identity in processes if is_alive(identity)] == []
    assert not Path(folder).exists()


def test_a_wrong_configuration_ends_the_pool_with_its_reason() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    pool = quick_pool({"error": "data are not here"})
    try:
        assert not {SESSION_VARIABLE, "RAY_AUTH_TOKEN"} & os.environ.keys(), (
            "our other children must not look like Ray's"
        )
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        with pytest.raises(EvaluatorError, match=r"worker-\d cannot work: data are not here"):
            pool.calibrate({}, {})
    finally:
        processes = pool.session_processes
        folder = pool.session_folder
        pool.close()
        pool.close()
    assert processes
    assert [identity for identity in processes if is_alive(identity)] == []
    assert not Path(folder).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_workers": 0}, "0 workers were asked for; expected 1 or more"),
        ({"trial_timeout_s": 0.0}, "time limit of a trial is 0.0 s"),
        ({"gpus_per_worker": -1.0}, "-1.0 GPUs per worker"),
        ({"gpus_per_worker": 1000.0}, "2 workers need 2000 GPUs, and torch sees"),
        ({"ray_address": "ray://127.0.0.1:1"}, "is no address; expected auto or HOST:PORT"),
        ({"ray_address": "here"}, "is no address; expected auto or HOST:PORT"),
        ({"ray_address": "127.0.0.1:1"}, "no Ray cluster can be joined at '127.0.0.1:1' .ConnectionRefusedError"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        quick_pool(**options)


def test_ray_learns_neither_the_command_line_nor_the_storage_url() -> None:
    """Both may hold a password. Ray keeps and logs the command line of whoever starts it, and its processes inherit the
    environment."""
    script = """
import os, pathlib, sys
import psutil
from ray._private.state import jobs
from tests.integration.quick_work import quick_pool

if __name__ == "__main__":
    pool = quick_pool(num_workers=1)
    try:
        assert "hunter2" in sys.argv[1]
        assert all("hunter2" not in str(job) for job in jobs()) and jobs()
        files = [path for path in pathlib.Path(pool.session_folder).rglob("*") if path.is_file()]
        environments = [psutil.Process(process.pid).environ() for process in pool.session_processes]
        assert environments and not [names for names in environments if "NAS_STORAGE" in names]
        assert "hunter2" in os.environ["NAS_STORAGE"]
        assert files and not [path for path in files if b"hunter2" in path.read_bytes()]
    finally:
        pool.close()
"""
    url = "x://me:hunter2@host"
    environment = {**os.environ, "NAS_STORAGE": url}
    command = [sys.executable, "-c", script, f"--storage={url}"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)
