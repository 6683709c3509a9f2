"""A package that names spaces: the command line, Ray's workers and the service find them. What such a search found goes
to a device with torch and timm alone, and comes back as a front on it. All of it by real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bare_site import bare_site, run_bare
from tests.integration.test_launch_search import ray_processes, run
from tests.integration.test_service import Server, searches
from tests.own_spaces import write_example, write_own_networks
from tests.waiting import eventually

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "spaces-of-others"
version = "1.0"

[tool.setuptools]
packages = ["spaces_of_others"]

[project.entry-points."hybrid_nas.spaces"]
my_space = "spaces_of_others.mine"
plain = "spaces_of_others.plain"
broken = "spaces_of_others.broken"
"""
RECIPE = {"rungs": [4], "batch_size": 16, "learning_rate": 0.001}

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed a package with three spaces; one of them cannot be imported."""
    project = tmp_path_factory.mktemp("project")
    package = project / "spaces_of_others"
    package.mkdir()
    (package / "__init__.py").touch()
    write_example(package)
    write_own_networks(package)
    (package / "broken.py").write_text('raise RuntimeError("no such crystal")\n', encoding="utf-8")
    (project / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--target", str(site), str(project)], check=True)
    return site


@pytest.fixture
def folder(tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to search in, by processes that see the installed package."""
    given = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *([given] if given else [])]))
    (tmp_path / "tiny.json").write_text(json.dumps(RECIPE), encoding="utf-8")
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    yield server
    server.kill()
    for process in searches(folder):
        process.kill()


def done(folder: Path, *arguments: str) -> str:
    code, output = run(folder, *arguments)
    assert code == 0, output
    return output


def test_the_command_line_and_its_workers_find_installed_spaces(folder: Path) -> None:
    listed = done(folder, "spaces")
    for name in ("conv_only", "hybrid_layout", "my_space", "plain"):
        assert f"{name}, scale nano: " in listed
    assert (
        "the installed space 'broken' is left out: the space of spaces_of_others.broken raises RuntimeError" in listed
    )
    search = ["--space", "plain", "--budget", "2", "--objectives", "top1,macs", "--recipe", "tiny.json"]
    assert "budget reached: 2 of 2" in done(folder, *search, "--workers", "2"), "only the package builds its networks"
    assert ray_processes(folder) == []
    code, output = run(folder, "--space", "broken", "--budget", "1")
    assert (code, "no such crystal" in output, output.count("\n")) == (2, True, 1), output


def test_a_search_of_the_service_comes_back_as_a_front_on_a_device_without_us(server: Server, folder: Path) -> None:
    listed = {each["name"]: each for each in server.ask("/spaces")["items"]}
    assert [gene["name"] for gene in listed["my_space"]["genes"]] == ["width", "depth", "attention"]
    assert "no such crystal" in listed["broken"]["problem"]
    assert not listed["conv_only"]["problem"]
    body = {"space": "my_space", "budget": 3, "objectives": "top1,macs", "study": "s", "workers": 1}
    server.ask("/studies", {**body, "recipe_json": RECIPE})
    eventually(lambda: server.study()["state"] in ("finished", "failed"), 900)
    assert (server.study()["state"], server.study()["evaluated"]) == ("finished", 3), server.study()
    members = server.ask("/studies/s/front")["members"]
    for member in members:
        exported(server, f"trial:{member['trial_number']}")

    done(folder, "bundle", "--zoo", "zoo", "--to", "bundle.zip")
    device = bare_site(folder / "device", "torch", "timm")
    words = ("--latency-target", "cpu:threads=1", "--device-name", "board 7", "--json", "timed.json")
    timed = run_bare(device, folder / "bundle.zip", *words)
    assert timed.returncode == 0, timed.stderr
    taken = done(folder, "profile", "--study", "s", "--from", str(device / "timed.json"))
    assert f"{len(members)} timed, 0 failed" in taken
    found = json.loads(done(folder, "pareto", "--study", "s", "--latency-target", "cpu@board 7", "--json"))
    given = json.loads((device / "timed.json").read_text(encoding="utf-8"))["timings"]
    measured = [each["latency"]["median_ms"] for each in given]
    assert found["target"]["device_name"] == "board 7"
    assert found["members"], "at least the most accurate is on every front"
    assert {member["latency_ms"] for member in found["members"]} <= set(measured)


def exported(server: Server, pick: str) -> Any:
    """The job of an export, once it has ended well."""
    key = server.ask("/studies/s/exports", {"pick": pick})["id"]
    eventually(lambda: server.ask(f"/jobs/{key}")["state"] in ("finished", "failed"), 900)
    job = server.ask(f"/jobs/{key}")
    assert job["state"] == "finished", job
    return job
