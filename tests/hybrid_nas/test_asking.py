"""The client against the real service on loopback, over the recorded study; nothing is trained."""

import contextlib
import hashlib
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hybrid_nas.server import Server
from hybrid_nas.service.settings import Settings
from nas.errors import InvalidInputError
from search_spaces.zoo.export import export_model
from search_spaces.zoo.index import read_index
from search_spaces.zoo.taking import take_entry
from tests.hybrid_nas.service.server import Client, serving
from tests.recorded.record import unpack
from tests.waiting import eventually
from tests.zoo_entries import architecture, card_of, trained, weights_of

Command = Callable[..., tuple[int, str, str]]
SCRIPT = """#!/bin/sh
trap 'echo stopped in order; kill $!; exit 130' TERM
echo hello from the search
echo 'evaluated 1/2 (50%); a line of progress'
sleep 100 & wait $!
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A database with the recorded study, a zoo with one entry, and searches that only wait."""
    unpack(tmp_path)
    script = tmp_path / "search.sh"
    script.write_text(SCRIPT)
    network = architecture()
    weights = weights_of(trained(network))
    export_model(zoo=tmp_path / "far", name="one", spec=network.to_spec(), weights=weights, card=card_of(network))
    return Settings(
        storage=f"sqlite:///{tmp_path}/nas.db",
        artifacts=str(tmp_path / "artifacts"),
        folder=tmp_path / "service",
        zoo=tmp_path / "far",
        program=("/bin/sh", str(script)),
        requests_per_s=1_000,
    )


@pytest.fixture
def port(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    with serving(settings) as (service, port):
        monkeypatch.setenv("NAS_TOKEN", service.tokens.add("ada", "user"))
        monkeypatch.setenv("NAS_SERVER", f"http://127.0.0.1:{port}")
        yield port


def test_submit_list_stop(port: int, run_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "own.json"
    recipe.write_text(json.dumps({"steps": "many"}))
    words = ("--space", "conv_only", "--budget", "2", "--objectives", "top1,macs", "--study", "a b")
    code, _, errors = run_command("submit", *words, "--recipe", str(recipe))
    assert code == 2 and "unknown field 'steps'" in errors, "the file itself was sent"
    code, output, errors = run_command("submit", *words)
    assert (code, errors) == (0, "") and output.startswith("submitted a b: ")
    assert "ada" in run_command("list", "--owner", "ada")[1]
    assert run_command("submit", *words)[0] == 2, "the name is taken"
    assert "study a b is stop" in run_command("stop", "a b")[1]
    code, _, errors = run_command("stop", "nobody's")
    assert code == 2 and "nobody's" in errors and errors.count("the list of studies says which there are") == 1
    monkeypatch.setenv("NAS_TOKEN", "wrong")
    code, _, errors = run_command("list")
    assert code == 2 and errors.endswith("; set NAS_TOKEN to your token\n") and "wrong" not in errors
    assert run_command("submit", "--storage", "x", *words)[0] == 2, "the service has its own"


def test_a_study_is_shown_like_a_search(port: int, run_command: Command) -> None:
    code, output, errors = run_command("watch", "recorded")
    assert (code, errors) == (0, "")
    assert output.startswith("study recorded is stopped, 14 of 14 evaluated; best top1 ")
    assert "hypervolume " in output and ", front " in output


def test_watching_survives_a_restart_and_shows_each_line_once(
    settings: Settings, run_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as first:
        service, port = first.enter_context(serving(settings))
        token = service.tokens.add("ada", "user")
        monkeypatch.setenv("NAS_TOKEN", token)
        monkeypatch.setenv("NAS_SERVER", f"http://127.0.0.1:{port}")
        ada = Client(port, token)
        assert ada.post("/studies", {"space": "conv_only", "budget": 2, "objectives": "top1,macs", "study": "s"}).json
        eventually(lambda: ada.get("/studies/s").json["state"] == "running")
        rest = first.pop_all()

    def restart() -> None:
        time.sleep(3)
        rest.close()
        time.sleep(1)
        with serving(settings, port):
            time.sleep(3)
            assert ada.post("/studies/s/stop").status == 202
            eventually(lambda: ada.get("/studies/s").json["state"] == "stopped")
            time.sleep(4)

    thread = threading.Thread(target=restart)
    thread.start()
    code, output, _ = run_command("watch", "s")
    thread.join()
    assert code == 0
    lines = output.splitlines()
    assert lines.count("hello from the search") == lines.count("stopped in order") == 1
    assert "a line of progress" not in output, "this display has its own"
    assert output.count("asking again until it is back") == output.count(f":{port} is back\n") == 1
    assert lines[-1].startswith("study s is stopped, 0 of 2 evaluated")


def test_fetch_and_find_it_in_the_zoo(port: int, run_command: Command, tmp_path: Path) -> None:
    zoo = tmp_path / "near"
    code, output, errors = run_command("fetch", "one", "--zoo", str(zoo))
    assert (code, output, errors) == (0, f"wrote {zoo / 'one'}\n", "")
    assert read_index(zoo) == read_index(tmp_path / "far")
    code, _, errors = run_command("fetch", "one", "--zoo", str(zoo))
    assert code == 2 and "give another --name, or --overwrite to replace it" in errors
    assert run_command("fetch", "one", "--zoo", str(zoo), "--overwrite")[0] == 0
    assert run_command("fetch", "two", "--zoo", str(zoo))[0] == 2


def _zip(method: int = zipfile.ZIP_STORED, /, **files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return content.getvalue()


def _damaged() -> bytes:
    """An archive whose packed bytes are no stream."""
    content = bytearray(_zip(zipfile.ZIP_DEFLATED, one__a=b"abc" * 100))
    begin = content.index(b"one/a") + len(b"one/a")
    content[begin : begin + 4] = b"\xff\xff\xff\xff"
    return bytes(content)


def _encrypted() -> bytes:
    """An archive that says that it is encrypted, in both of its places."""
    content = bytearray(_zip(one__a=b"x"))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def _line(sums: dict[str, str]) -> dict[str, Any]:
    return {"name": "one", "arch_hash": "0" * 64, "sha256": sums}


@pytest.mark.parametrize(
    ("archive", "entry", "message"),
    [
        (b"no zip", _line({}), "is no entry of a zoo"),
        (_damaged(), _line({"a": "0" * 64}), "is no entry of a zoo"),
        (_encrypted(), _line({"a": "0" * 64}), "is no entry of a zoo"),
        (_zip(one__a=b"x"), _line({"a": "0" * 64}), "a has another SHA-256 than was recorded"),
        (_zip(one__a=b"x", other=b"y"), _line({"a": "0" * 64}), "its files are not those of the entry"),
        (_zip(one__a=b"x"), _line({"../a": "0" * 64}), "a file lies outside its folder"),
        (_zip(one__a=b"x"), {**_line({}), "name": "../one"}, "zoo name '../one' cannot be used"),
        (_zip(one__a=b"x"), {"name": "one"}, "is no entry of a zoo"),
    ],
)
def test_what_is_no_entry_is_not_taken(archive: bytes, entry: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as error:
        take_entry(tmp_path / "zoo", archive, entry)
    assert message in str(error.value)
    assert not (tmp_path / "zoo" / "one").exists() and not (tmp_path / "a").exists()


def test_an_entry_is_taken_whole(tmp_path: Path) -> None:
    entry = _line({"a": hashlib.sha256(b"x").hexdigest()})
    folder = take_entry(tmp_path / "zoo", _zip(one__a=b"x"), entry)
    assert [path.name for path in folder.iterdir()] == ["a"]


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://a:b@x", "http://x:y"])
def test_a_server_that_is_none_is_explained(url: str) -> None:
    with pytest.raises(InvalidInputError, match=r"expected such as http://127.0.0.1:8000"):
        Server.at(url, None)


@pytest.mark.parametrize("host", ["nas.example.org", "10.0.0.1:8000", "localhost.evil.example", "[2001:db8::1]"])
def test_a_token_is_not_sent_in_the_clear(host: str) -> None:
    with pytest.raises(InvalidInputError, match="would cross the network unencrypted; give its https URL, or a tunnel"):
        Server.at(f"http://{host}", "nas_x")
    assert str(Server.at(f"https://{host}/nas/", "nas_x")) == f"https://{host}/nas"
    assert Server.at(f"http://{host}", None).token is None
    for own in ("127.0.0.1:8000", "localhost", "[::1]:8000"):
        assert str(Server.at(f"http://{own}", "nas_x")) == f"http://{own}"


def test_a_server_that_is_away_is_explained(run_command: Command) -> None:
    code, _, errors = run_command("list", "--server", "http://127.0.0.1:9")
    assert code == 1 and "http://127.0.0.1:9 cannot be reached (" in errors and errors.count("\n") == 1
