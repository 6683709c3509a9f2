"""Nodes of a cluster that are lost, come back and come new, while a search runs."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db.store import open_store
from tests.integration.nodes import Cluster, NamespaceCluster, has_namespaces
from tests.integration.test_finalize import RECIPE, record_study

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0
BUDGET = 12


class Command:
    """A command that runs, and the lines that it has said so far."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def wait_for(self, *texts: str) -> None:
        """Wait until a line has all the texts."""
        deadline = time.monotonic() + PATIENCE_S
        while not any(all(text in line for text in texts) for line in self.lines):
            assert self.process.poll() is None, self.end()
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.05)

    def end(self) -> tuple[int, str, str]:
        """Exit code, output and errors, once it has ended."""
        assert self.process.stderr is not None
        code = self.process.wait(PATIENCE_S)
        errors = self.process.stderr.read()
        self._reader.join()
        return code, "".join(self.lines), errors

    def stop(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with contextlib.closing(Cluster()) as made:
        yield made


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Callable[[Cluster], Command]]:
    """Starts a search of two workers whose evaluations take about a second each."""
    started = []
    (tmp_path / "q.json").write_text(json.dumps({"rungs": [60], "batch_size": 16, "learning_rate": 0.001}))

    def start(cluster: Cluster) -> Command:
        words = ["--space", "hybrid_layout", "--budget", str(BUDGET), "--recipe", "q.json", "--study", "s"]
        words += ["--objectives", "top1,macs", "--workers", "2", "--ray-address", cluster.address]
        command = [*cluster.within(0), sys.executable, str(ROOT / "launch.py"), *words]
        environment = {name: value for name, value in cluster.users.items() if name != "RAY_AUTH_MODE"}
        started.append(Command(command, environment, tmp_path))
        return started[-1]

    yield start
    for command in started:
        command.stop()


def _require_whole(folder: Path) -> None:
    """The budget is exact, and no architecture was trained twice."""
    with contextlib.closing(open_store(f"sqlite:///{folder}/runs/nas.db", create=False)) as store:
        facts = list(store.facts("s"))
        assert [trial.state for trial in facts if not trial.is_counted] == []
        assert len(facts) == len({trial.arch_hash for trial in facts}) == BUDGET
        assert store.check_fronts("s") == []


def _require_gone(cluster: Cluster, number: int) -> None:
    deadline = time.monotonic() + 30
    while (left := cluster.processes(number, "ray::")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def test_a_search_outlives_a_node_and_takes_its_successor(
    cluster: Cluster, search: Callable[[Cluster], Command], tmp_path: Path
) -> None:
    lost = cluster.start_node()
    command = search(cluster)
    command.wait_for("evaluated 3/")
    cluster.kill(lost)
    command.wait_for("goes on with 1 of 2 workers")
    cluster.start_node()
    command.wait_for("goes on with 2 of 2 workers")
    code, output, errors = command.end()
    assert (code, errors) == (0, ""), output
    assert "the node is lost" in output
    _require_whole(tmp_path)
    _require_gone(cluster, lost)


@pytest.mark.skipif(not has_namespaces(), reason="network namespaces cannot be made here")
def test_a_search_outlives_a_node_that_is_cut_off(search: Callable[[Cluster], Command], tmp_path: Path) -> None:
    with contextlib.closing(NamespaceCluster()) as cluster:
        lost = cluster.start_node()
        command = search(cluster)
        command.wait_for("evaluated 3/")
        cluster.plug(False)
        command.wait_for("goes on with 1 of 2 workers")
        cluster.plug(True)
        cluster.start_node()
        command.wait_for("goes on with 2 of 2 workers")
        code, output, errors = command.end()
        assert (code, errors) == (0, ""), output
        _require_whole(tmp_path)
        _require_gone(cluster, lost)


@pytest.mark.slow
def test_finalists_outlive_a_node(cluster: Cluster, tmp_path: Path) -> None:
    lost = cluster.start_node()
    recipe = {**RECIPE.to_json(), "rungs": [20, 40, 80]}
    with contextlib.closing(record_study(tmp_path)) as store:
        (tmp_path / "own.json").write_text(json.dumps(recipe))
        words = ["finalize", "--study", "s", "--recipe", "own.json", "--top", "1", "--samples", "2", "--seeds", "3"]
        words += ["--workers", "2", "--ray-address", cluster.address]
        command = Command([sys.executable, str(ROOT / "launch.py"), *words], cluster.users, tmp_path)
        try:
            command.wait_for("tuning 1/2")
            cluster.kill(lost)
            command.wait_for("the node is lost")
            cluster.start_node()
            code, output, errors = command.end()
        finally:
            command.stop()
        assert (code, errors) == (0, ""), output
        trainings = store.final_trainings("s")
        assert sorted(training.purpose for training in trainings) == ["final"] * 3 + ["tuning"] * 2
        assert len({training.key for training in trainings}) == 5
        assert {training.state for training in trainings} <= {"COMPLETE", "PRUNED"}
    _require_gone(cluster, lost)


DRIVER = """
import json, logging, sys
from nas.errors import NasError
from nas.protocols import Failed, Finished, Notice
from tests.integration.quick_work import quick_job, quick_pool
from workers.cluster import nodes

logging.disable()
nodes.HEAD_TIMEOUT_S = 5.0
pool = quick_pool(ray_address=sys.argv[1], workers_timeout_s=20.0, trial_timeout_s=100.0)

def say(*words):
    print(json.dumps(words), flush=True)

for number in range(pool.num_workers):
    pool.submit(quick_job(number, "hang" if number else "good", rung_s=60.0))
say("up", pool.num_workers)
try:
    while True:
        for event in pool.events(1.0):
            say(type(event).__name__, getattr(event, "text", ""), getattr(event, "reason", ""))
except NasError as error:
    say("ended", str(error))
finally:
    pool.close()
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[[Cluster], Command]]:
    """Starts a pool without a search, whose jobs never end."""
    started = []

    def start(cluster: Cluster) -> Command:
        environment = {**cluster.users, "PYTHONPATH": str(ROOT)}
        started.append(Command([sys.executable, "-c", DRIVER, cluster.address], environment, tmp_path))
        started[-1].wait_for("up")
        return started[-1]

    yield start
    for command in started:
        command.stop()


def test_without_any_worker_it_waits_and_ends(driver: Callable[[Cluster], Command]) -> None:
    with contextlib.closing(Cluster(head_cpus=0)) as cluster:
        only = cluster.start_node()
        command = driver(cluster)
        cluster.kill(only)
        command.wait_for("no worker is left; waiting up to 20 s for a node of the cluster")
        code, output, errors = command.end()
        assert (code, errors) == (0, "")
        assert "no node came within 20 s" in output
        assert "the state is saved, and the same command continues" in output


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("gcs/gcs_server", "the head of the Ray cluster has not answered for"),
        ("raylet/raylet", "the Ray node on which this command runs is lost"),
    ],
)
def test_a_lost_head_ends_it_in_one_line(
    cluster: Cluster, driver: Callable[[Cluster], Command], program: str, said: str
) -> None:
    command = driver(cluster)
    cluster.kill(0, program)
    code, output, errors = command.end()
    assert (code, errors) == (0, "")
    assert said in output
    assert "the state is saved" in output


BAD_NODE = """
import json, logging, sys
from nas.protocols import Failed, Finished, Notice
from tests.integration.quick_work import quick_job, quick_pool

logging.disable()
pool = quick_pool(ray_address=sys.argv[1], trial_timeout_s=100.0)
for number in range(6):
    pool.submit(quick_job(number, "die"))
    events = []
    while not any(isinstance(event, Failed) for event in events):
        events += pool.events(1.0)
    print(json.dumps([event.text for event in events if isinstance(event, Notice)]), flush=True)
print(json.dumps(["workers left", pool.num_workers]), flush=True)
pool.close()
"""


def test_a_node_that_loses_every_worker_is_set_aside_while_others_are_left(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_node()
    environment = {**cluster.users, "PYTHONPATH": str(ROOT)}
    command = Command([sys.executable, "-c", BAD_NODE, cluster.address], environment, tmp_path)
    try:
        code, output, errors = command.end()
    finally:
        command.stop()
    assert (code, errors) == (0, "")
    assert (
        output.count("the node is not used: 3 workers in a row were lost, the last one: the worker process died") == 1
    )
    assert '["workers left", 1]' in output
