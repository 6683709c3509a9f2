"""What a command loads before it does its work: nothing that takes seconds and is not needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from db.store import open_store
from tests.samples import study_record

ROOT = Path(__file__).parents[1]
SLOW = ("torch", "torchvision", "timm", "ray", "sklearn", "matplotlib", "pandas", "scipy.stats")
PROGRAM = f"""
import sys
import launch
try:
    launch.main()
except SystemExit:
    pass
print("loaded", [name for name in {SLOW!r} if name in sys.modules])
"""


def _run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("command", ["--help", "status", "pareto"])
def test_who_only_reads_loads_neither_torch_nor_ray(tmp_path: Path, command: str) -> None:
    (tmp_path / "runs").mkdir()
    store = open_store(f"sqlite:///{tmp_path}/runs/nas.db")
    store.create_study(study_record())
    store.close()
    assert "loaded []" in _run(tmp_path, command)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere torch counts the GPUs")
@pytest.mark.parametrize(
    ("option", "value", "refused"),
    [
        ("--latency-target", "cpu:threads=0", "threads is '0'"),
        ("--sampler", "guess", "unknown sampler"),
        ("--space", "nothing", "nothing"),
        ("--recipe", "none", "recipe 'none' is unknown"),
        ("--max-params", "1", "--max-params"),
    ],
)
def test_a_bad_argument_of_a_search_is_refused_before_torch_or_ray_is_loaded(
    tmp_path: Path, option: str, value: str, refused: str
) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("with a GPU torch counts them")
    said = _run(tmp_path, "--space", "hybrid_layout", "--budget", "2", option, value)
    assert refused in said
    loaded = said.splitlines()[[line.startswith("loaded") for line in said.splitlines()].index(True)]
    assert loaded == "loaded []"
