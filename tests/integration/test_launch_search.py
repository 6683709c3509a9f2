"""Whole searches from the command line: killed, stopped, repeated, on PostgreSQL."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import psutil
import pytest

from db.engine import engine_kwargs
from db.store import open_store
from nas.protocols import SearchSpace
from nas.search.scoring import drawn, recorded_sample
from nas.surrogates.training_free import SampledNetwork
from search_spaces.registry import make_space

ROOT = Path(__file__).resolve().parents[2]
SPACE = ["--space", "conv_only"]

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]


def start(folder: Path, *arguments: str, storage: str | None = None) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "NAS_STORAGE"}
    if storage is not None:
        environment["NAS_STORAGE"] = storage
    command = [sys.executable, str(ROOT / "launch.py"), *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=400)
    return process.returncode, output


def run(folder: Path, *arguments: str, storage: str | None = None) -> tuple[int, str]:
    return finish(start(folder, *arguments, storage=storage))


def wait_until_evaluated(process: subprocess.Popen[str], count: int) -> None:
    wait_for_line(process, r"evaluated (\d+)/", lambda match: int(match[1]) >= count)


def wait_for_line(process: subprocess.Popen[str], pattern: str, fits: Callable[[re.Match[str]], bool] = bool) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if (match := re.match(pattern, line)) and fits(match):
            return
    pytest.fail("the search ended early")


def trials(url: str, study: str) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.RDBStorage(url, engine_kwargs=engine_kwargs(url))
    try:
        return optuna.load_study(study_name=study, storage=storage).trials
    finally:
        storage.engine.dispose()


def ray_processes(folder: Path) -> list[psutil.Process]:
    """Processes that work in the folder of the test: those of its searches and nothing else on the machine."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_two_kills_and_a_stop_end_in_the_exact_budget(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs/nas.db"
    # More than can be evaluated while the second coordinator is refused; the last run asks for less.
    arguments = [*SPACE, "--budget", "40", "--study", "s", "--workers", "2"]
    for count in (2, 4):
        process = start(tmp_path, *arguments)
        wait_until_evaluated(process, count)
        process.kill()
        process.communicate()
    process = start(tmp_path, *arguments)
    wait_until_evaluated(process, 6)
    code, output = run(tmp_path, *arguments)
    assert code == 1
    assert re.search(rf"error: .*{process.pid}", output), output
    process.send_signal(signal.SIGTERM)
    signalled = time.monotonic()
    code, output = finish(process)
    assert time.monotonic() - signalled < 10
    assert code == 130
    assert "the same command continues" in output
    assert {trial.state.name for trial in trials(url, "s")} <= {"COMPLETE", "WAITING"}
    assert ray_processes(tmp_path) == []

    budget = sum(trial.state.name == "COMPLETE" for trial in trials(url, "s")) + 3
    process = start(tmp_path, *arguments, "--budget", str(budget))
    wait_for_line(process, r"timing the \d+ members of the front")
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert (code, "the same command continues" in output) == (130, True), output
    code, output = run(tmp_path, *arguments, "--budget", str(budget))
    assert code == 0, output
    assert re.search(r"^\d+ members of the front timed again: ", output, re.MULTILINE), output
    code, output = run(tmp_path, *arguments, "--budget", str(budget))
    assert (code, "starting" in output, "members of the front timed again: " in output) == (0, False, True), (
        "it needs no worker any more"
    )
    assert "note: the weights of" not in output
    code, output = run(tmp_path, *arguments, "--budget", str(budget), "--artifacts", "elsewhere")
    assert code == 0 and re.search(
        r"note: the weights of \d+ members .* not in \S*/elsewhere; .* began with --artifacts \S*artifacts", output
    )
    recorded = trials(url, "s")
    assert [trial.state.name for trial in recorded] == ["COMPLETE"] * budget
    assert len({trial.user_attrs["arch_hash"] for trial in recorded}) == budget
    assert ray_processes(tmp_path) == []
    assert "front check   the recorded front equals the facts" in run(tmp_path, "status", "--study", "s")[1]


def test_a_killed_worker_is_replaced_and_its_trial_tried_again(tmp_path: Path) -> None:
    process = start(tmp_path, *SPACE, "--budget", "5", "--study", "s", "--workers", "2")
    wait_until_evaluated(process, 1)
    worker = next(
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "Worker." in " ".join(child.cmdline())
    )
    worker.kill()
    code, output = finish(process)
    assert code == 0, output
    recorded = trials(f"sqlite:///{tmp_path}/runs/nas.db", "s")
    assert [trial.state.name for trial in recorded] == ["COMPLETE"] * 5
    assert ray_processes(tmp_path) == []


def test_same_seed_gives_the_identical_study_with_real_training(tmp_path: Path) -> None:
    studies = []
    for name in ("a", "b"):
        code, output = run(
            tmp_path,
            *SPACE,
            "--budget",
            "4",
            "--study",
            name,
            "--workers",
            "1",
            "--objectives",
            "top1,macs",
            "--seed",
            "7",
        )
        assert code == 0, output
        studies.append([(t.params, t.values) for t in trials(f"sqlite:///{tmp_path}/runs/nas.db", name)])
    assert studies[0] == studies[1]


def test_a_search_trains_by_the_recipe_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"rungs": [8], "batch_size": 16, "learning_rate": 0.003, "ema_decay": 0.9}')
    arguments = [*SPACE, "--budget", "4", "--study", "s", "--objectives", "top1,macs"]
    code, output = run(tmp_path, *arguments, "--recipe", "mine.json", "--rungs", "2")
    assert (code, "budget reached: 4 of 4" in output) == (0, True), output
    with closing(open_store(f"sqlite:///{tmp_path}/runs/nas.db", create=False)) as store:
        recorded = store.study("s")
        facts = list(store.facts("s"))
    assert recorded is not None
    assert (recorded.recipe["rungs"], recorded.recipe["batch_size"], recorded.recipe["ema_decay"]) == ([4, 8], 16, 0.9)
    assert {score.steps for trial in facts for score in trial.rungs} == {4, 8}
    code, output = run(tmp_path, *arguments)
    assert (code, "study 's' exists with recipe." in output) == (2, True), output


def test_a_killed_search_goes_on_with_the_scores_that_it_has(tmp_path: Path) -> None:
    space = make_space("conv_only", "nano", 32, 1, 10)
    rng = np.random.default_rng(0)
    rows = [{"genotype": space.sample(rng), "score": float(rng.normal())} for _ in range(40)]
    (tmp_path / "mine.json").write_text(json.dumps(rows))
    (tmp_path / "tiny.json").write_text('{"rungs": [8], "batch_size": 16, "learning_rate": 0.003}')
    scores = ["--scores", "zico,az_nas,mine.json"]
    arguments = [
        *SPACE,
        "--budget",
        "16",
        "--study",
        "s",
        "--workers",
        "2",
        "--objectives",
        "top1,macs",
        "--rungs",
        "2",
    ]
    url = f"sqlite:///{tmp_path}/runs/nas.db"
    for count in (3, 11):
        process = start(tmp_path, *arguments, *scores, "--recipe", "tiny.json")
        wait_until_evaluated(process, count)
        process.kill()
        process.communicate()
    before = sampled(url, space)
    size = len(drawn(space, {}, 0))
    assert len(before) == size, "after ten trainings the whole sample is known"
    code, output = run(tmp_path, *arguments, *scores, "--recipe", "tiny.json")
    assert code == 0, output
    assert sampled(url, space) == before
    recorded = trials(url, "s")
    assert {trial.state.name for trial in recorded} <= {"COMPLETE", "PRUNED"}
    assert len({trial.user_attrs["arch_hash"] for trial in recorded}) == len(recorded) == 16
    told = run(tmp_path, "status", "--study", "s")[1]
    assert re.search(
        rf"^score +zico: .*its model of {size} untrained networks predicts others with R2 ", told, re.MULTILINE
    )
    assert re.search(r"^score +mine.json: ", told, re.MULTILINE)
    assert "front check   the recorded front equals the facts" in told


def sampled(url: str, space: SearchSpace) -> dict[int, SampledNetwork]:
    storage = optuna.storages.RDBStorage(url, engine_kwargs=engine_kwargs(url))
    try:
        return recorded_sample(["zico", "az_nas"], "s", space, storage).networks
    finally:
        storage.engine.dispose()


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Nothing once it has ended: Ray starts and ends processes all the time."""
    try:
        return process.environ()
    except psutil.NoSuchProcess:
        return {}


@pytest.mark.postgres
def test_search_on_postgres_keeps_the_password_to_itself(tmp_path: Path, empty_postgres_url: str) -> None:
    password = re.search(r"://[^:]+:([^@]+)@", empty_postgres_url)
    process = start(tmp_path, *SPACE, "--budget", "3", "--study", "s", storage=empty_postgres_url)
    wait_until_evaluated(process, 1)
    others = psutil.Process(process.pid).children(recursive=True)
    assert others
    assert not [other for other in others if "NAS_STORAGE" in environment_of(other)]
    code, output = finish(process)
    assert code == 0, output
    assert "launch.py export --study s --pick knee" in output
    assert [trial.state.name for trial in trials(empty_postgres_url, "s")] == ["COMPLETE"] * 3
    code, table = run(tmp_path, "pareto", "--storage", empty_postgres_url)
    assert code == 0
    code, exported = run(tmp_path, "export", "--storage", empty_postgres_url, "--pick", "accuracy")
    assert code == 0, exported
    if password is not None:
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert files
        assert not [path for path in files if password[1].encode() in path.read_bytes()]
        assert password[1] not in output + table + exported
