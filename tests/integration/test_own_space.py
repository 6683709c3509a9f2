"""Spaces of a user's own from the command line: searched by two workers, explained, finalized, exported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_launch_search import ray_processes, run
from tests.own_spaces import write_example, write_own_networks

OBJECTIVES = ["--objectives", "top1,macs", "--recipe", "tiny.json", "--workers", "2"]
LOAD = """
import sys
import torch, timm
sys.path.insert(0, sys.argv[1])
import hybrid_backbone
model = timm.create_model(f"local-dir:{sys.argv[1]}", pretrained=True).eval()
print(tuple(model(torch.zeros(1, 1, 32, 32)).shape), sorted({"nas", "search_spaces"} & set(sys.modules)))
"""

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to search in, with a recipe that takes no time."""
    recipe = {"rungs": [4], "batch_size": 16, "learning_rate": 0.001}
    (tmp_path / "tiny.json").write_text(json.dumps(recipe), encoding="utf-8")
    return tmp_path


def done(folder: Path, *arguments: str) -> str:
    code, output = run(folder, *arguments)
    assert code == 0, output
    return output


def refused(folder: Path, message: str, *arguments: str) -> None:
    code, output = run(folder, *arguments)
    assert (code, message in output, output.count("\n")) == (2, True, 1), output


def test_networks_of_our_blocks_go_all_the_way_into_the_zoo(folder: Path) -> None:
    file = write_example(folder)
    search = ["--space", "./mine.py", "--budget", "10", *OBJECTIVES]
    assert "budget reached: 10 of 10" in done(folder, *search)
    assert ray_processes(folder) == []
    assert "starting" not in done(folder, *search), "it is the same study, and complete"
    for command in ("status", "pareto"):
        assert "my_space-nano-digits" in done(folder, command)
    assert "attention" in done(folder, "explain")

    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("(16, 24, 32)", "(16, 24, 32, 40)"), encoding="utf-8")
    refused(folder, "study 'my_space-nano-digits' exists with space_hash = ", *search)
    file.unlink()
    refused(folder, f"which is not as it was: there is no file {file}", "explain")

    done(folder, "profile", "--latency-target", "cpu:threads=1")
    done(folder, "finalize", "--recipe", "tiny.json", "--top", "1", "--samples", "1", "--seeds", "2", "--workers", "2")
    done(folder, "export", "--pick", "knee", "--name", "mine")
    command = [sys.executable, "-c", LOAD, str(folder / "zoo" / "mine")]
    loaded = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "(1, 10) []"


def test_networks_of_a_users_own_are_trained_and_kept_out_of_the_zoo(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "of_a_user").mkdir()
    write_own_networks(folder / "of_a_user")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    for given, study in (("of_a_user/plain.py", "by_file"), ("of_a_user.plain", "by_name")):
        output = done(folder, "--space", given, "--budget", "2", "--study", study, *OBJECTIVES)
        assert "budget reached: 2 of 2" in output
    done(folder, "profile", "--study", "by_file", "--latency-target", "cpu:threads=1")
    for study, origin in (("by_file", folder / "of_a_user" / "plain.py"), ("by_name", "of_a_user.plain")):
        refused(folder, f"the networks of study '{study}' are built by {origin},", "export", "--study", study)
