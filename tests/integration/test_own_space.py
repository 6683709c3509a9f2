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


def test_networks_of_our_blocks_go_all_the_way_into_the_zoo(folder: Path) -> None:
    file = write_example(folder)
    output = done(folder, "--space", "./mine.py", "--budget", "4", *OBJECTIVES)
    assert "budget reached: 4 of 4" in output
    assert ray_processes(folder) == []
    assert "my_space-nano-digits" in done(folder, "status")
    assert "my_space-nano-digits" in done(folder, "pareto")
    assert "attention" in done(folder, "explain")
    file.unlink()
    code, output = run(folder, "explain")
    assert (code, f"searched the space 'my_space', which is not as it was: there is no file {file}" in output) == (
        2,
        True,
    )

    done(folder, "profile", "--latency-target", "cpu:threads=1")
    done(folder, "finalize", "--recipe", "tiny.json", "--top", "1", "--samples", "1", "--seeds", "2", "--workers", "2")
    done(folder, "export", "--pick", "knee", "--name", "mine")
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder / "zoo" / "mine")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "(1, 10) []"


def test_a_study_goes_on_with_its_own_space_only(folder: Path) -> None:
    file = write_example(folder)
    search = ["--space", "./mine.py", *OBJECTIVES]
    done(folder, *search, "--budget", "2")
    assert "budget reached: 3 of 3" in done(folder, *search, "--budget", "3")
    file.write_text(file.read_text(encoding="utf-8").replace("(16, 24, 32)", "(16, 24, 32, 40)"), encoding="utf-8")
    code, output = run(folder, *search, "--budget", "4")
    assert (code, "study 'my_space-nano-digits' exists with space_hash = " in output) == (2, True), output


def test_networks_of_a_users_own_are_trained_and_kept_out_of_the_zoo(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "of_a_user").mkdir()
    write_own_networks(folder / "of_a_user")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    for given, study in (("of_a_user/plain.py", "by_file"), ("of_a_user.plain", "by_name")):
        output = done(folder, "--space", given, "--budget", "2", "--study", study, *OBJECTIVES)
        assert "2 evaluated" in output or "2 of 2" in output
    done(folder, "profile", "--study", "by_file", "--latency-target", "cpu:threads=1")
    for study, origin in (("by_file", folder / "of_a_user" / "plain.py"), ("by_name", "of_a_user.plain")):
        code, output = run(folder, "export", "--study", study)
        assert (code, f"the networks of study '{study}' are built by {origin}, and a zoo entry" in output) == (2, True)
