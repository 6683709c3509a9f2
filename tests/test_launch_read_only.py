"""Commands on databases that may be read and not written: folders, files, another user's, whatever lies beside."""

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from safetensors.torch import save

from db.store import open_store
from db.tables import trainings
from search_spaces.build import build_model
from tests.db.test_look import contents
from tests.test_launch_explain import record_study

ROOT = Path(__file__).parents[1]
# root may write everything unless it gives that up; then it owns its files and is no more than anybody else.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
OTHER_USER = 65534
READING = """
import contextlib, io, json, sys
import launch

answers = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["launch.py", *words]
    out = io.StringIO()
    err = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            launch.main()
        except SystemExit as end:
            code = end.code or 0
    answers.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(answers))
"""

pytestmark = pytest.mark.skipif(
    bool(UNPRIVILEGED) and shutil.which("setpriv") is None, reason="root needs setpriv to give up its rights"
)
Arrange = Callable[[Path], None]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of one study, whose knee has weights."""
    folder = tmp_path_factory.mktemp("study")
    url = f"sqlite:///{folder}/nas.db"
    record_study(url, 24)
    with contextlib.closing(open_store(url)) as store:
        front = store.front("s")
        assert front is not None
        facts = {trial.trial_number: trial for trial in store.facts("s")}
        for member in front.members:
            weights = save(build_model(facts[member.trial_number].spec, 0.0).state_dict())
            file = folder / "artifacts" / f"{member.trial_number}.safetensors"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(weights)
            kept = {"weights_path": file.name, "weights_sha256": hashlib.sha256(weights).hexdigest()}
            with store._writer.begin() as connection:
                row = trainings.c.trial_number == member.trial_number
                connection.execute(sa.update(trainings).where(row).values(kept))
    (folder / "artifacts" / "drawings").mkdir()
    return folder


def protect(folder: Path, *, folder_too: bool = True) -> None:
    for file in folder.glob("nas.db*"):
        file.chmod(0o444)
    if folder_too:
        folder.chmod(0o555)


def folder_and_files(folder: Path) -> None:
    protect(folder)


def file_alone(folder: Path) -> None:
    protect(folder, folder_too=False)


def folder_alone(folder: Path) -> None:
    folder.chmod(0o555)


def no_write_ahead_log(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "nas.db")) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    protect(folder)


def of_another_user(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files to another user")
    folder.chmod(0o755)
    (folder / "artifacts").chmod(0o755)
    for file in (folder / "nas.db", folder):
        os.chown(file, OTHER_USER, OTHER_USER)


def with_log(folder: Path, *suffixes: str) -> None:
    """As a killed process leaves it: the last transaction stands in the log."""
    url = f"sqlite:///{folder}/nas.db"
    with contextlib.closing(open_store(url)) as store:
        store.record_export("s", 0, "in-the-log", "/zoo/in-the-log")
        for suffix in suffixes:
            shutil.copy(f"{folder}/nas.db{suffix}", f"{folder}/kept{suffix}")
        shutil.copy(folder / "nas.db", folder / "kept")
    for suffix in ("", *suffixes):
        shutil.move(f"{folder}/kept{suffix}", f"{folder}/nas.db{suffix}")
    protect(folder)


def log_without_index(folder: Path) -> None:
    with_log(folder, "-wal")


def log_and_index(folder: Path) -> None:
    with_log(folder, "-wal", "-shm")


CASES: tuple[Arrange, ...] = (
    folder_and_files,
    file_alone,
    folder_alone,
    no_write_ahead_log,
    of_another_user,
    log_without_index,
    log_and_index,
)


@pytest.fixture
def arranged(request: pytest.FixtureRequest, study: Path, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "theirs"
    shutil.copytree(study, folder)
    request.param(folder)
    yield folder
    if os.geteuid() == 0:
        os.chown(folder, 0, 0)
    folder.chmod(0o755)


def call(folder: Path, *commands: tuple[str, ...]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of commands that an unprivileged user gives beside the folder."""
    words = [(*command, "--storage", f"sqlite:///{folder}/nas.db") for command in commands]
    done = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-c", READING, json.dumps(words)],
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    answers: list[tuple[int, str, str]] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("arranged", CASES, indirect=True, ids=lambda case: case.__name__)
def test_it_is_read_and_exported(arranged: Path) -> None:
    before = contents(arranged)
    status, pareto, explain, export = call(
        arranged,
        ("status", "--study", "s"),
        ("pareto", "--json"),
        ("explain",),
        ("export", "--pick", "accuracy", "--name", "winner"),
    )
    assert (status[0], status[2]) == (0, "")
    assert "front check   the recorded front equals the facts" in status[1]
    assert ("in-the-log" in status[1]) == arranged.joinpath("nas.db-wal").exists()
    assert (pareto[0], pareto[2]) == (0, "") and json.loads(pareto[1])["members"]
    assert (explain[0], explain[2]) == (0, ""), explain
    assert export[0] == 0, export
    assert (arranged.parent / "zoo/winner/model.safetensors").is_file()
    assert export[2].startswith("note: the export is not recorded in the study: cannot write the database ")
    assert export[2].count("\n") == 1
    assert contents(arranged) == before


@pytest.mark.parametrize("arranged", [folder_and_files], indirect=True, ids=["folder_and_files"])
def test_what_must_write_is_refused_in_one_line(arranged: Path) -> None:
    before = contents(arranged)
    search = ("--space", "conv_only", "--budget", "1", "--study", "s", "--objectives", "top1,macs", "--workers", "1")
    for code, out, err in call(arranged, search, ("finalize",), ("profile",)):
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert "cannot write the database" in err
    assert contents(arranged) == before


@pytest.mark.parametrize(
    "arranged", [folder_and_files, log_without_index], indirect=True, ids=lambda case: case.__name__
)
def test_the_dashboard_shows_it(arranged: Path) -> None:
    before = contents(arranged)
    command = ["dashboard", "--port", "0", "--storage", f"sqlite:///{arranged}/nas.db"]
    process = subprocess.Popen(
        [*UNPRIVILEGED, sys.executable, str(ROOT / "launch.py"), *command],
        cwd=arranged.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    studies = get(f"{address}/api/studies")["study_summaries"]
    trials = get(f"{address}/api/studies/{studies[0]['study_id']}?after=0")["trials"]
    process.terminate()
    rest = process.communicate(timeout=30)[0]
    assert ([found["study_name"] for found in studies], len(trials)) == (["s"], 24), rest
    assert rest == ""
    assert contents(arranged) == before


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)
