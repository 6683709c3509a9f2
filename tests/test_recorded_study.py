"""A study that version 0.1.0 recorded (tests/recorded/record.py): every later version reads, explains, exports and
finalizes it with its recorded meaning."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import nn

from db.store import SqlStore, open_store
from nas.records import FrontMember, StudyRecord
from tests.recorded.record import FINALIZE, SEARCH, STUDY, unpack
from tests.zoo_entries import load_entry
from workers.data.registry import load_test, open_data
from workers.evaluate import EvaluationContext
from workers.evaluation import EvaluationConfig
from workers.recipe import Recipe

Command = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the study, as the current folder."""
    unpack(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_STORAGE", raising=False)
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[SqlStore]:
    with closing(open_store("sqlite:///nas.db", create=False)) as store:
        yield store


@pytest.fixture
def study(store: SqlStore) -> StudyRecord:
    [study] = store.studies()
    return study


@pytest.fixture
def later_space(folder: Path) -> None:
    """The space of the study has changed since: this version has another one of its name."""
    with closing(sqlite3.connect("nas.db")) as connection:
        connection.execute("UPDATE nas_studies SET space_hash = ?", ("0" * 64,))
        connection.commit()


@pytest.fixture
def same_host(study: StudyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine takes itself for the one that timed the study."""
    monkeypatch.setattr("workers.latency.target.LatencyTarget.fingerprint", lambda *_: study.target)


def test_status_shows_it_whole(run_command: Command, store: SqlStore) -> None:
    code, out, err = run_command("status", *STUDY)
    assert (code, err) == (0, "")
    assert "evaluated     14 of 14" in out
    assert "front check   the recorded front equals the facts" in out
    assert "1 of 1 finalists on the final front" in out
    [export] = store.exports("recorded")
    exported = f"{export.exported:%Y-%m-%d %H:%M} UTC"
    assert f"exported      knee, trial {export.trial_number}, {exported}, /somewhere/zoo/knee" in out
    assert "members of the front timed again" in out


def test_fronts_and_history_are_those_that_were_recorded(run_command: Command, store: SqlStore) -> None:
    front = store.front("recorded")
    finals = store.final_front("recorded")
    assert front is not None and finals is not None
    shown = json.loads(run_command("pareto", *STUDY, "--json")[1])
    assert [(point["trial_number"], point["top1"]) for point in shown["members"]] == [
        (member.trial_number, member.top1) for member in front.members
    ]
    shown = json.loads(run_command("pareto", *STUDY, "--final", "--json")[1])
    assert [(point["trial_number"], point["top1"]) for point in shown["finalists"]] == [
        (finalist.trial_number, finalist.top1) for finalist in finals.finalists
    ]
    shown = json.loads(run_command("pareto", *STUDY, "--history", "--json")[1])
    assert shown["growths"][-1]["hypervolume"] == front.hypervolume


@pytest.mark.usefixtures("folder")
def test_it_is_explained(run_command: Command) -> None:
    check_explanation(run_command)


@pytest.mark.usefixtures("later_space")
def test_it_is_explained_by_its_own_genes_when_the_space_has_changed(run_command: Command) -> None:
    check_explanation(run_command)


def check_explanation(run_command: Command) -> None:
    code, out, err = run_command("explain", *STUDY, "--json")
    assert (code, err) == (0, "")
    explained = json.loads(out)
    assert explained["trials"] >= 10
    values = {gene["gene"]: gene["values"] for gene in explained["genes"]}
    assert values["stem"] == ["conv", "patchify", "overlap"] and values["stage1_depth"] == [1, 2]
    assert explained["lineages"]


def test_a_picture_is_drawn_without_a_word_of_the_library(folder: Path) -> None:
    command = [sys.executable, str(ROOT / "launch.py"), "pareto", *STUDY, "--plot", "front.png"]
    environment = {**os.environ, "MPLCONFIGDIR": "/dev/null/cache"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, f"wrote {folder / 'front.png'}\n")
    assert (folder / "front.png").is_file()


def top1_of(model: nn.Module, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> float:
    hits = []
    with torch.inference_mode():
        for images, labels in batches:
            hits.append(model(images).argmax(1) == labels)
    return float(torch.cat(hits).float().mean())


def test_the_knee_of_the_final_front_is_exported_and_scores_what_was_recorded(
    run_command: Command, store: SqlStore, folder: Path
) -> None:
    code, out, err = run_command("export", *STUDY, "--pick", "knee", "--zoo", "again", "--name", "knee")
    assert (code, err) == (0, "")
    finals = store.final_front("recorded")
    assert finals is not None and f"trial {finals.members[0].trial_number}" in out
    weights = (folder / "again/knee/model.safetensors").read_bytes()
    [training] = [
        training
        for training in store.final_trainings("recorded")
        if training.weights is not None and training.weights.sha256 == hashlib.sha256(weights).hexdigest()
    ]
    model = load_entry(folder / "again/knee")
    images = load_test(open_data("digits"), Recipe.from_json(training.recipe), torch.device("cpu"))
    assert top1_of(model, images) == pytest.approx(training.test_top1, abs=2 / 1024)


def member_of_the_search_alone(store: SqlStore) -> FrontMember:
    """An end of the front that was not trained again: its weights are those of the search, and were kept."""
    front = store.front("recorded")
    finals = store.final_front("recorded")
    assert front is not None and finals is not None
    finalists = {finalist.trial_number for finalist in finals.finalists}
    return next(member for member in (front.members[-1], front.members[0]) if member.trial_number not in finalists)


def test_a_member_of_the_front_is_exported_and_scores_what_was_recorded(
    run_command: Command, store: SqlStore, study: StudyRecord, folder: Path
) -> None:
    member = member_of_the_search_alone(store)
    pick = ("--pick", f"trial:{member.trial_number}")
    code, _, err = run_command("export", *STUDY, *pick, "--zoo", "again", "--name", "member")
    assert (code, err) == (0, "")
    card = (folder / "again/member/README.md").read_text(encoding="utf-8")
    assert f"export --study recorded --pick trial:{member.trial_number} --retrain" in card
    assert "nas.db" not in card, "a card is shown to everybody, and names no place of this host"
    model = load_entry(folder / "again/member")
    context = EvaluationContext(EvaluationConfig(data="digits", recipe=Recipe.from_json(study.recipe)))
    assert top1_of(model, context.batches.validation()) == pytest.approx(member.top1, abs=2 / 1024)


@pytest.mark.parametrize("kind", ["finalists", "weights"])
def test_weights_with_an_altered_byte_are_not_exported(
    run_command: Command, store: SqlStore, folder: Path, kind: str
) -> None:
    pick = "knee" if kind == "finalists" else f"trial:{member_of_the_search_alone(store).trial_number}"
    for file in (folder / "artifacts" / kind).rglob("*.safetensors"):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    code, out, err = run_command("export", *STUDY, "--pick", pick, "--zoo", "again")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"artifacts/{kind}/recorded-" in err and "are not those that were recorded" in err
    assert not (folder / "again").exists()


def test_the_entry_of_the_zoo_is_whole_and_loads(store: SqlStore, folder: Path) -> None:
    """Its weights are kept once, among the artifacts."""
    [entry] = json.loads((folder / "zoo/index.json").read_text())["models"]
    for training in store.final_trainings("recorded"):
        if training.weights is not None and training.weights.sha256 == entry["sha256"]["model.safetensors"]:
            shutil.copy(folder / "artifacts" / training.weights.path, folder / "zoo/knee/model.safetensors")
    for name, recorded in entry["sha256"].items():
        assert hashlib.sha256((folder / "zoo/knee" / name).read_bytes()).hexdigest() == recorded
    assert load_entry(folder / "zoo/knee").num_classes == 10


@pytest.mark.usefixtures("later_space")
def test_its_finalists_are_shown_again_without_training(run_command: Command, store: SqlStore) -> None:
    before = store.final_trainings("recorded")
    code, out, _ = run_command("finalize", *FINALIZE, *STUDY)
    assert code == 0
    assert "tuning trainings: 1, 1 of them done before" in out and "final trainings: 2, 2 of them done before" in out
    assert "1 of 1 finalists on the final front, version 1 " in out
    assert store.final_trainings("recorded") == before


@pytest.mark.usefixtures("same_host")
def test_it_goes_on_by_its_own_command(run_command: Command) -> None:
    code, out, _ = run_command(*SEARCH, *STUDY)
    assert code == 0
    assert "budget reached already: 14 architectures are evaluated" in out


@pytest.mark.usefixtures("same_host", "later_space")
def test_it_does_not_go_on_in_a_space_that_has_changed(run_command: Command, store: SqlStore) -> None:
    before = list(store.facts("recorded"))
    code, out, err = run_command(*SEARCH, *STUDY, "--budget", "15")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"study 'recorded' exists with space_hash = {'0' * 64}, and now it would be " in err
    assert list(store.facts("recorded")) == before
