"""Who is let into a cluster, and what is said to those who are not. Nothing of Ray's own reaches stderr."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.integration.nodes import Cluster

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[2]

DRIVER = """
import json, os, sys, time
import ray
from nas.errors import NasError
from workers.cluster.joining import join_cluster

VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "HOME")

def attempt(address, **variables):
    for name in VARIABLES:
        os.environ.pop(name, None)
    os.environ.update({"HOME": "/nowhere"} | variables)
    started = time.monotonic()
    try:
        join_cluster(address)
        return ray.get(ray.remote(lambda: "worked").remote())
    except NasError as error:
        assert time.monotonic() - started < 25
        return str(error)
    finally:
        ray.shutdown()

attempts = json.loads(sys.argv[1])
print(json.dumps({name: attempt(address, **variables) for name, (address, variables) in attempts.items()}))
"""
ANOTHER_VERSION = """
import json, sys
import ray
from ray.experimental.internal_kv import _internal_kv_put
from workers.cluster.joining import join_cluster

join_cluster(sys.argv[1])
theirs = {"ray_version": "2.9.0", "python_version": "3.8.1", "ray_init_cluster": False}
_internal_kv_put("CLUSTER_METADATA", json.dumps(theirs), overwrite=True, namespace="cluster")
ray.shutdown()
"""


def _driver(cluster: Cluster, folder: Path, code: str, argument: str) -> str:
    """What a process that uses the cluster writes to stdout."""
    environment = {**cluster.users, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, argument],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def _attempts(cluster: Cluster, folder: Path, attempts: Mapping[str, tuple[str, dict[str, str]]]) -> dict[str, Any]:
    """How each of several attempts in one process ends: name -> (address, variables)."""
    found: dict[str, Any] = json.loads(_driver(cluster, folder, DRIVER, json.dumps(attempts)))
    return found


@pytest.fixture
def another_program() -> Iterator[str]:
    """Address of something that is no cluster."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_cluster_that_demands_a_token(tmp_path: Path, another_program: str) -> None:
    with contextlib.closing(Cluster()) as cluster:
        address = cluster.address
        port = address.rpartition(":")[2]
        token = cluster.users["RAY_AUTH_TOKEN"]
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray/auth_token").write_text(token)
        (tmp_path / "wrong").write_text("0" * 64)
        right = {"RAY_AUTH_TOKEN": token}
        found = _attempts(
            cluster,
            tmp_path,
            {
                "variable": (address, right),
                "path": (address, {"RAY_AUTH_TOKEN_PATH": str(tmp_path / ".ray/auth_token")}),
                "home": (address, {"HOME": str(tmp_path)}),
                "mode": (address, {**right, "RAY_AUTH_MODE": "disabled"}),
                "name": (f"localhost:{port}", {**right, "RAY_ADDRESS": "10.0.0.1:1"}),
                "auto": ("auto", {**right, "RAY_ADDRESS": address}),
                "none": (address, {}),
                "wrong": (address, {"RAY_AUTH_TOKEN": "0" * 64}),
                "wrong file": (address, {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "wrong")}),
                "no file": (address, {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "nothing")}),
                "client": ("auto", {"RAY_ADDRESS": "ray://127.0.0.1:10001"}),
                "port": ("127.0.0.1:99999", {}),
                "another": (another_program, right),
            },
        )
        joined = {name for name, said in found.items() if said == "worked"}
        assert joined == {"variable", "path", "home", "mode", "name", "auto"}, found
        assert f"the Ray cluster at '{address}' demands a token, and none is here: set RAY_AUTH_TOKEN" in found["none"]
        assert "demands another token than that of RAY_AUTH_TOKEN;" in found["wrong"]
        assert f"of the file {tmp_path / 'wrong'} (RAY_AUTH_TOKEN_PATH);" in found["wrong file"]
        assert "that cannot be read (No such file or directory)" in found["no file"]
        assert "Ray address 'ray://127.0.0.1:10001 (RAY_ADDRESS)' is no address" in found["client"]
        assert "is no address; expected auto or HOST:PORT" in found["port"]
        assert "what listens there does not answer as the head of a cluster does" in found["another"]
        _driver(cluster, tmp_path, ANOTHER_VERSION, address)
        found = _attempts(cluster, tmp_path, {"version": (address, right)})
        assert "runs Ray 2.9.0 on Python 3.8.1, and this command Ray" in found["version"]


def test_a_cluster_without_tokens_is_joined_by_who_has_one(tmp_path: Path) -> None:
    with contextlib.closing(Cluster(auth={"RAY_AUTH_MODE": "disabled"})) as cluster:
        token = {"RAY_AUTH_TOKEN": "0" * 64}
        found = _attempts(
            cluster,
            tmp_path,
            {
                "none": (cluster.address, {}),
                "token": (cluster.address, token),
                "mode": (cluster.address, {**token, "RAY_AUTH_MODE": "token"}),
            },
        )
        assert set(found.values()) == {"worked"}, found
        cluster.kill(0, "raylet/raylet")
        while cluster.processes(0, "raylet/raylet"):
            pass
        found = _attempts(cluster, tmp_path, {"elsewhere": (cluster.address, {})})
        assert "none of its nodes is on this machine" in found["elsewhere"]
