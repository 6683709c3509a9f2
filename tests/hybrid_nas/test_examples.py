"""The examples of the guide, in processes of their own."""

import os
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
print("loaded:", sorted({"torch", "ray", "timm"} & set(sys.modules)))
"""


def test_an_own_evaluator_searches_an_own_space_without_ray_and_torch(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("NAS_STORAGE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(ROOT / "docs/examples/own_evaluator.py")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 10
    assert ended.stderr == ""
    assert "budget reached: 20 of 20 architectures evaluated" in ended.stdout
    assert "genes: share of the variance" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "loaded: []"
    assert (tmp_path / "runs/nas.db").is_file()
