"""`launch.py audit` on a small study that was recorded by hand: interrupted, continued, and given what it cannot
use."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from db.store import open_store
from nas.records import RungScore
from search_spaces.registry import make_space
from tests.samples import study_record
from tests.samples import trial as sample_trial
from workers.data.registry import open_data
from workers.recipe import Recipe

LAUNCH = Path(__file__).parent.parent / "launch.py"
SPACE = make_space("conv_only", "nano", 32, 1, 10)
RECIPE = Recipe(rungs=(2,), batch_size=16, learning_rate=5e-3)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Study s of six architectures, and one without trials."""
    url = f"sqlite:///{tmp_path_factory.mktemp('study')}/nas.db"
    config = {"gpus_per_worker": 0.0, "data": "digits"}
    fixed = {"recipe": RECIPE.to_json(), "data_fingerprint": open_data("digits").fingerprint, "config": config}
    rng = np.random.default_rng(0)
    architectures = {one.arch_hash: one for one in (SPACE.architecture(SPACE.sample(rng)) for _ in range(10))}
    with contextlib.closing(open_store(url)) as store:
        for study in ("s", "empty"):
            store.create_study(replace(study_record("macs", name=study), **fixed))
        for number, architecture in enumerate(list(architectures.values())[:6]):
            known = sample_trial(number, 0.5, 1.0)
            built = {
                "arch_hash": architecture.arch_hash,
                "spec": architecture.to_spec(),
                "layout": architecture.layout(),
            }
            rungs = (RungScore(0, 2, number / 10, 0.5, 1.0),)
            store.record("s", replace(known, **built, costs=SPACE.costs(architecture), rungs=rungs), None)
    return url


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_the_same_command_continues(run_command, url: str, tmp_path: Path) -> None:
    words = [
        "audit",
        "--storage",
        url,
        "--study",
        "s",
        "--artifacts",
        str(tmp_path),
        "--count",
        "6",
        "--times",
        "30",
        "--workers",
        "1",
    ]
    process = subprocess.Popen(
        [sys.executable, str(LAUNCH), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("1 of 6"):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted; the state is saved, the same command continues"
    assert "Traceback" not in err
    assert not psutil.wait_procs(children, timeout=20)[1]
    kept = len((tmp_path / "audits/s-73.jsonl").read_text().splitlines())
    assert 1 <= kept < 6
    code, out, err = run_command(*words, "--json")
    assert code == 0 and len(json.loads(out)["trials"]) == 6
    assert err.splitlines()[0].startswith(
        f"6 architectures, 60 steps of 16 images, seed 1007: {kept} trained before, {6 - kept} to train"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--study", "nope"], 2, "there is no study 'nope'; the database has s, empty"),
        (["--study", "empty"], 1, "study 'empty' has 0 trials that can be audited; an audit needs 5: search on"),
        (["--study", "s", "--count", "3"], 2, "--count is 3; expected at least 5"),
        (["--study", "s", "--times", "2", "--recipe", "nano"], 2, "--times and --recipe are both given"),
        (["--study", "s", "--recipe", "none.json"], 2, "recipe 'none.json' cannot be read (No such file or directory)"),
        (["--study", "s", "--seed", "7"], 2, "--seed is 7, which the search had"),
        (["--study", "s", "--artifacts", "/proc/here"], 2, "give a folder that you may write as --artifacts"),
    ],
)
def test_bad_input_is_one_line(run_command, url: str, arguments: list[str], code: int, message: str) -> None:
    found, out, err = run_command("audit", "--storage", url, *arguments)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert message in err


def test_a_finished_audit_is_shown_again_without_training(run_command, url: str, tmp_path: Path) -> None:
    words = ("audit", "--storage", url, "--study", "s", "--artifacts", str(tmp_path), "--count", "6")
    log = tmp_path / "audits/s-73.jsonl"
    log.parent.mkdir()
    with contextlib.closing(open_store(url)) as store:
        trials = list(store.facts("s"))
    steps = {"rungs": [16]}
    known = {
        "data_fingerprint": open_data("digits").fingerprint,
        "recipe_hash": Recipe.from_json({**RECIPE.to_json(), **steps}).hash,
    }
    for place, trial in enumerate(trials):
        line = {
            "arch_hash": trial.arch_hash,
            **known,
            "seed": 1007,
            "top1": 0.9 - place / 10,
            "duration_s": 1.0,
            "device": "cpu",
        }
        with log.open("a") as file:
            file.write(json.dumps(line | {"zero_cost": {"synflow": place}}) + "\n")
    code, out, err = run_command(*words)
    assert (code, err) == (0, "6 architectures, 16 steps of 16 images, seed 1007: 6 trained before, nothing to train\n")
    assert out.splitlines()[0] == "s: 6 architectures (6 COMPLETE, 0 PRUNED), each trained for 16 steps with seed 1007"
    assert "-1.00  -1.00 to -1.00              6  search proxy, 2 steps" in out
    assert "warning: search proxy, 2 steps: tau -1.00 is below 0.4: do not choose by the order of this search" in out
    code, out, err = run_command(*words, "--json", str(tmp_path / "a.json"))
    assert (code, out) == (0, "")
    assert err.splitlines()[1:] == [
        f"wrote {tmp_path}/a.json",
        *json.loads((tmp_path / "a.json").read_text())["warnings"],
    ]
