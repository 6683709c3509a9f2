"""Finalists from the command line: killed in the middle, continued, exported. The study is recorded without a
search."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from db.store import SqlStore, open_store
from nas.pareto.front import FrontKeeper
from nas.records import Costs, StudyRecord, TrialFacts
from search_spaces.registry import make_space
from tests.integration.test_launch_search import ray_processes, run, start
from tests.samples import trial as sample_trial
from workers.data.registry import open_data
from workers.recipe import Recipe

RECIPE = Recipe(rungs=(1, 2, 4), batch_size=16, learning_rate=5e-3, mixup=0.8, ema_decay=0.9)
COMMAND = [
    "finalize",
    "--study",
    "s",
    "--recipe",
    "own.json",
    "--top",
    "1",
    "--samples",
    "2",
    "--seeds",
    "2",
    "--workers",
    "2",
]

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]


def record_study(folder: Path, url: str | None = None) -> SqlStore:
    """Two trials on a front of top1 against macs; in a SQLite file of the folder where no database is named."""
    source = open_data("digits")
    study = StudyRecord(
        name="s",
        uid="0" * 32,
        space="conv_only",
        space_module="",
        scale="nano",
        mixers="",
        space_hash="0" * 64,
        objectives=("top1", "macs"),
        reference_point=(0.1, 1e9),
        data="digits",
        data_location="digits",
        data_fingerprint=source.fingerprint,
        data_facts=source.facts,
        recipe=Recipe(rungs=(4,), batch_size=16, learning_rate=5e-3).to_json(),
        target=None,
        limits={},
        seed=0,
        device="cpu",
        artifacts="artifacts",
        config={},
        code_version="0.1.0",
        created=datetime.now(UTC),
    )
    store = open_store(url or f"sqlite:///{folder}/runs/nas.db")
    store.create_study(study)
    space = make_space("conv_only", "nano", 32, 1, 10)
    rng = np.random.default_rng(0)
    keeper = FrontKeeper("macs", (0.1, 1e9))
    for number in range(2):
        architecture = space.architecture(space.sample(rng))
        costs = Costs(1000, 1_000_000 * (number + 1))
        facts: TrialFacts = replace(
            sample_trial(number, 0.5 + 0.1 * number, 1.0),
            arch_hash=architecture.arch_hash,
            spec=architecture.to_spec(),
            layout=architecture.layout(),
            costs=costs,
            weights=None,
        )
        store.record("s", facts, keeper.add(facts))
    (folder / "own.json").write_text(json.dumps(RECIPE.to_json()))
    return store


def kill_after(folder: Path, line_start: str) -> None:
    process = start(folder, *COMMAND)
    assert process.stdout is not None
    assert any(line.startswith(line_start) for line in process.stdout), "it ended early"
    process.kill()
    process.communicate()


def test_a_killed_finalization_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    store = record_study(tmp_path)
    kill_after(tmp_path, "tuning 1/2")
    before = store.final_trainings("s")
    code, output = run(tmp_path, *COMMAND)
    assert code == 0, output
    assert "took over from process" in output
    trainings = store.final_trainings("s")
    assert list(trainings[: len(before)]) == list(before)
    assert [sum(training.purpose == purpose for training in trainings) for purpose in ("tuning", "final")] == [2, 2]
    assert len({training.key for training in trainings}) == 4
    assert ray_processes(tmp_path) == []
    final = [training for training in trainings if training.purpose == "final"]
    kept = sorted(
        path.relative_to(tmp_path / "runs/artifacts").as_posix() for path in (tmp_path / "runs/artifacts").rglob("*.*")
    )
    assert kept == sorted(training.weights.path for training in final)
    assert {Path(path).parent for path in kept} == {Path("finalists") / "s-00000000"}
    assert all(training.test_top1 is not None for training in final)
    front = store.final_front("s")
    assert front is not None
    assert (front.version, front.split, [finalist.seeds for finalist in front.finalists]) == (1, "test", [(1, 2)])
    store.close()

    code, output = run(tmp_path, "export", "--pick", "accuracy", "--name", "winner")
    assert code == 0, output
    winner = front.members[-1]
    best = max((t for t in final if t.trial_number == winner.trial_number), key=lambda training: training.top1 or 0.0)
    assert (tmp_path / "zoo/winner/model.safetensors").read_bytes() == (
        tmp_path / "runs/artifacts" / best.weights.path
    ).read_bytes()
    assert f"| top1 on test | {winner.top1:.4f} (" in (tmp_path / "zoo/winner/README.md").read_text()
