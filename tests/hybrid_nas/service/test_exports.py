"""Exports as jobs: a program that waits for a word, and then writes or fails, stands for launch.py."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hybrid_nas.service.hiding import without_paths
from hybrid_nas.service.settings import Settings
from tests.hybrid_nas.service.server import Client, serving
from tests.recorded.record import unpack
from tests.waiting import eventually

PATH = "/studies/recorded"
PROGRAM = """
import pathlib, sys, time
zoo = pathlib.Path(next(word.partition("=")[2] for word in sys.argv if word.startswith("--zoo=")))
word = zoo.parent / "word"
while not word.exists():
    time.sleep(0.02)
said = word.read_text()
if said == "die":
    sys.exit(137)
if said == "fail":
    sys.exit(f"error: the weights {zoo.parent}/artifacts/w 1.safetensors were not kept; see {zoo}/knee and /etc/x")
print(f"wrote {zoo / 'knee'}: trial 2, top1 0.5, SSS")
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "a host"
    folder.mkdir()
    unpack(folder)
    (folder / "program.py").write_text(PROGRAM)
    return Settings(
        storage=f"sqlite:///{folder}/nas.db",
        artifacts=str(folder / "artifacts"),
        folder=folder / "service",
        zoo=folder / "zoo",
        program=(sys.executable, "-I", str(folder / "program.py")),
        requests_per_s=1_000,
    )


@pytest.fixture
def say(settings: Settings) -> Callable[[str], int]:
    """Tells the program what to do."""
    return (settings.zoo.parent / "word").write_text


def listed(port: int, query: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = Client(port).get(f"{PATH}/exports{query}").json["items"]
    return items


def states(port: int, query: str = "") -> list[str]:
    return [job["state"] for job in listed(port, query)]


def test_they_are_listed_while_they_wait_run_and_have_ended_across_a_restart(
    settings: Settings, say: Callable[[str], int]
) -> None:
    with serving(settings) as (_, port):
        assert listed(port) == []
        assert Client(port).get("/studies/nobody/exports").status == 404
        for pick in ("knee", "trial:3"):
            assert Client(port).post(f"{PATH}/exports", {"pick": pick}).status == 202
        eventually(lambda: states(port) == ["queued", "running"])
        assert [job["trial"] for job in listed(port)] == [3, None], "the knee is not known yet"
        refused = Client(port).ask("DELETE", f"{PATH}?confirm=recorded")
        assert (refused.status, "is being exported" in refused.error["message"]) == (409, True)
    say("write")
    with serving(settings) as (_, port):
        eventually(lambda: states(port) == ["finished", "finished"])
        [later, first] = listed(port)
        assert (first["entry"], first["trial"], first["owner"]) == ("knee", 2, "local")
        assert [job["id"] for job in listed(port, "?trial=3")] == [later["id"]]
        assert listed(port, "?limit=1&offset=1") == [first]
        assert Client(port).ask("DELETE", f"{PATH}?confirm=recorded").status == 204
        assert Client(port).get(f"/jobs/{first['id']}").status == 404, "the next study of that name has none"
        assert list((settings.folder / "jobs").iterdir()) == []


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("fail", "the weights w 1.safetensors were not kept; see knee and x"),
        ("die", "the export ended with code 137 and last said: nothing; ask for it again"),
    ],
)
def test_one_that_fails_says_why_and_only_the_log_says_where(
    settings: Settings, say: Callable[[str], int], caplog: pytest.LogCaptureFixture, word: str, said: str
) -> None:
    say(word)
    with caplog.at_level(logging.WARNING), serving(settings) as (_, port):
        Client(port).post(f"{PATH}/exports", {})
        eventually(lambda: states(port) == ["failed"])
        [job] = listed(port)
    assert job["message"] == said
    assert job["ended"] is not None
    assert job["entry"] is None
    if word == "fail":
        assert f"{settings.zoo}/knee" in caplog.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sqlite:////srv/nas.db is locked", "nas.db is locked"),
        ("file:///srv/x", "x"),
        ("--zoo=/srv/nas/zoo/, '/a/b': no", "--zoo=zoo, 'b': no"),
        ("folder:/data/x y (/tmp/z)", "folder:x y (z)"),
        ("ask https://host/path, or a/b and ./c", "ask https://host/path, or a/b and ./c"),
        ("top1 0.5 / 2 of 3", "top1 0.5 / 2 of 3"),
        ("<b>/srv/x</b><br/>", "<b>x</b><br/>"),
    ],
)
def test_paths_are_cut_down_to_their_last_names(settings: Settings, text: str, shown: str) -> None:
    assert without_paths(text, settings) == shown
