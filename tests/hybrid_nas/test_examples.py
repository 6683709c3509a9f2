"""The examples of the guide, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
print("loaded:", sorted({"torch", "ray", "timm"} & set(sys.modules)))
"""
SHOW = """
import ast

def run(cell, namespace):
    body = ast.parse(cell).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
    if last is not None:
        show(eval(compile(ast.Expression(last.value), "cell", "eval"), namespace))

def show(value):
    if hasattr(value, "_repr_png_"):
        assert value._repr_png_().startswith(b"\\x89PNG")
        print("picture of", type(value).__name__)
    elif value is not None:
        print(repr(value))

if __name__ == "__main__":
    namespace = {"__name__": "__main__"}
    for cell in CELLS:
        run(cell, namespace)
"""


def test_an_own_evaluator_searches_an_own_space_without_ray_and_torch(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("NAS_STORAGE", None)
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(ROOT / "docs/examples/own_evaluator.py")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert "budget reached: 20 of 20 architectures evaluated" in ended.stdout
    assert "genes: share of the variance" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "loaded: []"
    assert (tmp_path / "runs/nas.db").is_file()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    cells = json.loads((ROOT / "docs/guide/python.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code"), "kept without results"
    program = tmp_path / "cells.py"
    # As a notebook does: one namespace, and the last expression of a cell is shown in its richest form.
    program.write_text(f"CELLS = {code!r}\n{SHOW}", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("NAS_STORAGE", None)
    ended = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
    )
    assert ended.returncode == 0, ended.stderr
    shown = ended.stdout.splitlines()
    assert [line for line in shown if line.startswith("picture of")] == ["picture of Shown", "picture of Shown"]
    assert "front check   the recorded front equals the facts" in shown
    assert "4" in shown and "'model.safetensors'" in shown[-1]
