"""Without the extra `service`: everything but the service works, and that says what to install.

What the extra brings cannot be imported here, in every process that a command starts.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = ("fastapi", "jinja2", "multipart", "python_multipart", "starlette", "uvicorn")
BLOCK = f"""
import sys
from importlib.abc import MetaPathFinder

class Nothing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Nothing())
"""
IN_PROCESS = """
from hybrid_nas import api
from tests.doubles import TinySpace, tiny_top1
found = api.search(space=TinySpace(), budget=4, objectives="top1,macs", evaluate=tiny_top1, quiet=True)
print(len(found.trials), found.front is not None)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """For Python processes that cannot import what the extra brings."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCK)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NAS_")}
    return {**kept, "PYTHONPATH": f"{folder}:{ROOT}"}


def run(words: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def launch(words: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    return run([str(ROOT / "launch.py"), *words], folder, environment)


def test_they_are_blocked(tmp_path: Path, environment: dict[str, str]) -> None:
    for name in ("fastapi", "uvicorn"):
        assert "ModuleNotFoundError" in run(["-c", f"import {name}"], tmp_path, environment)[2]


def test_what_needs_no_service_needs_no_extra(tmp_path: Path, environment: dict[str, str]) -> None:
    code, out, _ = launch(["--help"], tmp_path, environment)
    assert (code, "serve" in out) == (0, True)
    assert run(["-c", IN_PROCESS], tmp_path, environment) == (0, "4 True\n", "")
    assert launch(["token", "list"], tmp_path, environment)[:2] == (0, "no tokens yet\n")
    code, _, err = launch(["list", "--server", "http://127.0.0.1:1"], tmp_path, environment)
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot be reached" in err


def test_the_service_names_the_extra(tmp_path: Path, environment: dict[str, str]) -> None:
    code, out, err = launch(["serve", "--port", "0"], tmp_path, environment)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "which is not installed; install this project with the extra `service`" in err


@pytest.mark.ray
@pytest.mark.slow
def test_a_search_with_workers_needs_no_extra(tmp_path: Path, environment: dict[str, str]) -> None:
    words = ["--space", "conv_only", "--budget", "1", "--objectives", "top1,macs", "--workers", "1"]
    code, out, err = launch(words, tmp_path, environment)
    assert code == 0, err
    assert "evaluated 1/1" in out


def test_a_plain_installation_asks_for_none_of_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plain = {Requirement(text).name for text in project["dependencies"]}
    assert not plain & {Requirement(text).name for text in project["optional-dependencies"]["service"]}
