"""Real searches behind a real service: killed and started again, nothing is lost and nothing doubled."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from db.store import open_store
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
BUDGET = 12
"""The service is started again in the time of a few of these evaluations."""

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]


class Server:
    """`launch.py serve` in a folder, as a process that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "NAS_STORAGE"}
        command = [sys.executable, str(ROOT / "launch.py"), "serve", "--port", "0"]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if match := re.search(r"serving on (http://\S+:\d+)", line):
                self.address = match[1]
                return
        pytest.fail(said)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/api/v1{path}", data)
        request.add_header("content-type", "application/json")
        for _ in range(100):
            try:
                with urllib.request.urlopen(request, timeout=120) as response:
                    return json.load(response)
            except ConnectionError:
                time.sleep(0.1)
        raise AssertionError(f"{path} is not answered")

    def study(self, name: str = "s") -> Any:
        return self.ask(f"/studies/{name}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.kill()
    for process in searches(tmp_path):
        process.kill()


def searches(folder: Path) -> list[psutil.Process]:
    """Coordinators that work below the folder, by what they were started with."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if (
                str(folder) in process.cwd()
                and any(word.startswith("--study=") for word in words)
                and "sh" not in words
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def facts(folder: Path, study: str) -> list[str]:
    with closing(open_store(f"sqlite:///{folder}/runs/nas.db", create=False)) as store:
        return [trial.arch_hash for trial in store.facts(study) if trial.is_counted]


def test_kills_of_service_and_search_lose_and_double_nothing(server: Server, tmp_path: Path) -> None:
    body = {"space": "conv_only", "budget": BUDGET, "objectives": "top1,macs", "study": "s", "workers": 1}
    server.ask("/studies", {**body, "recipe_json": {"rungs": [16], "batch_size": 64, "learning_rate": 0.01}})
    eventually(lambda: server.study()["evaluated"] >= 1, 600)
    [search] = searches(tmp_path)
    server.kill()
    server.start()
    began = time.monotonic()
    assert server.study()["state"] == "running"
    assert time.monotonic() - began < 10
    assert searches(tmp_path) == [search], "it goes on, and no second one is started"
    search.kill()
    eventually(lambda: server.study()["attempts"] >= 1 and searches(tmp_path) not in ([], [search]), 300)
    eventually(lambda: server.study()["state"] == "finished", 600)
    assert server.study()["evaluated"] == BUDGET
    hashes = facts(tmp_path, "s")
    assert len(hashes) == len(set(hashes)) == BUDGET
    assert "budget reached" in server.study()["exit_line"]

    job = server.ask("/studies/s/exports", {"pick": "knee", "name": "found"})
    eventually(lambda: server.ask(f"/jobs/{job['id']}")["state"] != "running", 600)
    eventually(lambda: server.ask(f"/jobs/{job['id']}")["state"] == "finished", 600)
    assert server.ask("/zoo/found")["name"] == "found"

    server.ask("/studies/s/extend", {"budget": 30})
    eventually(lambda: searches(tmp_path), 300)
    server.ask("/studies/s/stop", {})
    eventually(lambda: server.study()["state"] == "stopped", 300)
    assert searches(tmp_path) == []
    assert facts(tmp_path, "s")[:BUDGET] == hashes
