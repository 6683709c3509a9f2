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


STOPPED = """
import launch
from nas.errors import EvaluatorError
from workers.cluster import pool

def refuse(num_workers, gpus_per_worker):
    raise EvaluatorError("Ray is not to start here")

pool.start_local = refuse
"""


def _run(folder: Path, *arguments: str, program: str = PROGRAM) -> str:
    command = [sys.executable, "-c", program, *arguments]
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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere torch counts the GPUs")
def test_a_search_on_digits_reaches_its_workers_without_torch(tmp_path: Path) -> None:
    """In place of Ray's start stands an error: what was loaded until then delayed the workers."""
    if Path("/dev/nvidiactl").exists():
        pytest.skip("with a GPU torch counts them")
    stopped = PROGRAM.replace("import launch\n", STOPPED)
    said = _run(tmp_path, "--space", "hybrid_layout", "--budget", "2", program=stopped)
    assert "starting Ray" in said and "Ray is not to start here" in said
    assert "loaded ['ray']" in said
