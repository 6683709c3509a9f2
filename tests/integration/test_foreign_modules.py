"""Files in the current folder that are called like modules: they replace none, in whatever process is started."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_launch_search import ROOT, SPACE, ray_processes, run
from tests.own_spaces import write_own_networks

NAMES = ("hybrid_nas", "json", "nas", "numpy", "random", "ray", "search_spaces", "selectors", "signal", "timm", "torch")
QUICK = ["--objectives", "top1,macs", "--recipe", "tiny.json", "--workers", "2"]


def litter(folder: Path) -> None:
    """Files that end whoever imports them; `workers` as a package."""
    (folder / "workers").mkdir()
    for name in (*NAMES, "workers/__init__"):
        (folder / f"{name}.py").write_text("raise SystemExit('a module of the current folder')\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of such files, with a recipe that takes no time."""
    litter(tmp_path)
    recipe = {"rungs": [4], "batch_size": 16, "learning_rate": 0.001}
    (tmp_path / "tiny.json").write_text(json.dumps(recipe), encoding="utf-8")
    return tmp_path


def test_the_command_line_runs_as_a_module_too(tmp_path: Path) -> None:
    litter(tmp_path)
    command = [sys.executable, "-m", "launch", "spaces", "--space", "conv_only"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("random", "selectors", "signal"):  # Python itself needs them before anything of ours runs
        (tmp_path / f"{name}.py").unlink()
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("conv_only, scale nano")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_processes_import_what_the_coordinator_imports(folder: Path) -> None:
    code, output = run(folder, *SPACE, "--budget", "5", "--study", "s", *QUICK)
    assert code == 0 and "budget reached: 5 of 5" in output, output
    code, output = run(folder, "audit", "--count", "5", "--times", "1", "--workers", "2")
    assert code == 0 and "5 of 5: trial" in output, output
    code, output = run(folder, "finalize", "--recipe", "tiny.json", "--top", "1", "--samples", "1", "--seeds", "2")
    assert code == 0 and "final 2/2" in output, output
    assert ray_processes(folder) == []


PROGRAM = """
from hybrid_nas import api
study = api.search(
    space="plain.py", budget=2, objectives="top1,macs", recipe="tiny.json", workers=2, storage="sqlite:///two.db"
)
print(study.outcome.reason)
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_space_of_ones_own_finds_what_it_imports_wherever_the_coordinator_does(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the Python path, or beside the program that searches."""
    file = write_own_networks(folder)
    file.write_text(f"from beside_my_space import WIDE\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
    beside = tmp_path_factory.mktemp("program")
    (beside / "beside_my_space.py").write_text("WIDE = True\n", encoding="utf-8")
    (beside / "program.py").write_text(PROGRAM, encoding="utf-8")

    monkeypatch.setenv("PYTHONPATH", str(beside))
    code, output = run(folder, "--space", "./plain.py", "--budget", "2", *QUICK)
    assert code == 0 and "budget reached: 2 of 2" in output, output

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(beside / "program.py")]
    shown = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert "budget reached: 2 of 2" in shown.stdout, shown.stdout
