"""Workers that join a cluster which was there before and goes on afterwards."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.nodes import Cluster
from tests.integration.test_finalize import record_study

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]

DRIVER = """
import json, sys
from nas.errors import EvaluatorError
from tests.contracts.evaluator_contract import run
from tests.integration.quick_work import quick_job, quick_pool

pool = quick_pool(ray_address=sys.argv[1])
found = {"where": run(pool, quick_job(1, "where"))[-1].reason, "ours": [pool.session_folder, pool.session_processes]}
found["lost"] = run(pool, quick_job(2, "die"))[-1].reason
found["retried"] = type(run(pool, quick_job(2))[-1]).__name__
pool.close()
pool = quick_pool(ray_address=sys.argv[1], num_workers=3)
found["too many"] = [pool.num_workers, pool.events(1.0)[-1].text]
pool.close()
for options in {"target": {"device_name": "another"}}, {"config": {"error": "data are not here"}}:
    try:
        quick_pool(ray_address=sys.argv[1], **options)
    except EvaluatorError as error:
        found[str(*options)] = str(error)
print(json.dumps(found))
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A node of two CPUs that knows nothing of this project."""
    with contextlib.closing(Cluster(head_cpus=2)) as made:
        yield made


def test_a_cluster_is_joined_used_and_left(cluster: Cluster, tmp_path: Path) -> None:
    for _ in range(2):  # the second time shows that the first one left the cluster as it was
        command = [sys.executable, "-c", DRIVER, cluster.address]
        driver = subprocess.run(
            command,
            env={**cluster.users, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert driver.returncode == 0, driver.stderr
        found = json.loads(driver.stdout)
        assert "py_modules" in found["where"], "the worker must run the code that was shipped"
        assert found["ours"] == ["", []], "a takeover must not end a cluster's processes"
        assert "the worker process died" in found["lost"]
        assert found["retried"] == "Finished"
        assert found["too many"] == [2, "the search goes on with 2 of 3 workers"]
        assert "device_name is 'test', expected 'another'" in found["target"]
        assert "data are not here" in found["config"]


@pytest.mark.slow
def test_finalists_are_trained_on_a_cluster_that_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    def finalize(*words: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            str(ROOT / "launch.py"),
            "finalize",
            "--study",
            "s",
            "--recipe",
            "own.json",
            "--top",
            "1",
        ]
        command += ["--samples", "1", "--seeds", "3", "--ray-address", cluster.address, *words]
        return subprocess.run(
            command, env=cluster.users, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )

    with contextlib.closing(record_study(tmp_path)) as store:
        done = finalize("--workers", "3")
        assert done.returncode == 0, done.stderr
        assert "the cluster has room for 2 of 3 workers" in done.stdout
        trainings = store.final_trainings("s")
        front = store.final_front("s")
    assert sorted(training.purpose for training in trainings) == ["final"] * 3 + ["tuning"]
    assert front is not None and len(front.finalists[0].seeds) == 3
    folder = tmp_path / "runs/artifacts"
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(
        folder / training.weights.path for training in trainings if training.weights
    ), "neither checkpoints nor files of Tune's stay"
