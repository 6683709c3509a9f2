"""Workers that join a cluster which was there before and goes on afterwards."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_finalize import record_study
from workers.cluster.session_processes import SESSION_VARIABLE, end_processes, make_session_folder

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
for options in {"num_workers": 3}, {"target": {"device_name": "another"}}, {"config": {"error": "data are not here"}}:
    try:
        quick_pool(ray_address=sys.argv[1], **options)
    except EvaluatorError as error:
        found[str(*options)] = str(error)
print(json.dumps(found))
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A node of two CPUs that knows nothing of this project. Gives the environment of its users."""
    folder = make_session_folder()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    users = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("RAY_")}
    users |= {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_AUTH_MODE": "token", "ADDRESS": f"127.0.0.1:{port}"}
    command = [
        Path(sys.executable).parent / "ray",
        "start",
        "--head",
        f"--port={port}",
        "--num-cpus=2",
        "--include-dashboard=false",
    ]
    command += [f"--temp-dir={folder}/ray", "--object-store-memory=100000000", "--disable-usage-stats"]
    subprocess.run(
        command, env={**users, SESSION_VARIABLE: folder}, cwd=tmp_path, capture_output=True, check=True, timeout=60
    )
    yield users
    end_processes((), folder)


def test_a_cluster_is_joined_used_and_left(cluster: dict[str, str], tmp_path: Path) -> None:
    for _ in range(2):  # the second time shows that the first one left the cluster as it was
        command = [sys.executable, "-c", DRIVER, cluster["ADDRESS"]]
        driver = subprocess.run(
            command,
            env={**cluster, "PYTHONPATH": str(ROOT)},
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
        assert "room for 2 workers, asked for 3" in found["num_workers"]
        assert "device_name is 'test', expected 'another'" in found["target"]
        assert "data are not here" in found["config"]


@pytest.mark.slow
def test_finalists_are_trained_on_a_cluster_that_goes_on(cluster: dict[str, str], tmp_path: Path) -> None:
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
        command += ["--samples", "1", "--seeds", "2", "--ray-address", cluster["ADDRESS"], *words]
        return subprocess.run(
            command, env=cluster, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )

    with contextlib.closing(record_study(tmp_path)) as store:
        refused = finalize("--workers", "3")
        assert (
            refused.returncode == 1
            and "the cluster has room for 2 workers, asked for 3; ask for fewer" in refused.stderr
        )
        done = finalize("--workers", "2")
        assert done.returncode == 0, done.stderr
        trainings = store.final_trainings("s")
        front = store.final_front("s")
    assert sorted(training.purpose for training in trainings) == ["final", "final", "tuning"]
    assert front is not None and len(front.finalists[0].seeds) == 2
    folder = tmp_path / "runs/artifacts"
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(
        folder / training.weights.path for training in trainings if training.weights
    ), "neither checkpoints nor files of Tune's stay"
