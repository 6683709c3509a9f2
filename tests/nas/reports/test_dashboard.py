import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.errors import InvalidInputError
from nas.records import Costs
from nas.reports.dashboard import serve
from nas.search.attributes import constraint_attributes, drawing_attributes, trial_attributes

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20" fill="teal"/></svg>'
SERVE = """
import sys, pathlib, optuna
from nas.reports.dashboard import serve
storage = optuna.storages.RDBStorage(sys.argv[1])
serve(storage, pathlib.Path(sys.argv[2]), int(sys.argv[3]), lambda url: print(url, flush=True))
"""


def record_study(folder: Path, url: str) -> FrozenTrial:
    """A study of one trial with everything that this module can attach; the trial, as the storage has it."""
    storage = optuna.storages.RDBStorage(url)
    study_id = storage.create_new_study([StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE], "one")
    costs = Costs(param_count=1200, macs=34_000)
    template = create_trial(
        state=TrialState.RUNNING,
        user_attrs=trial_attributes(
            layout="conv x2 | attention x2", arch_hash="ab" * 32, costs=costs, reason="macs over 30000"
        ),
        system_attrs=constraint_attributes({"macs": 0.13}) | drawing_attributes(SVG, folder),
    )
    trial = storage.get_trial(storage.create_new_trial(study_id, template_trial=template))
    storage.remove_session()
    storage.engine.dispose()
    return trial


@contextmanager
def running_server(folder: Path, url: str = "") -> Iterator[tuple[subprocess.Popen[str], int]]:
    url = url or f"sqlite:///{folder}/nas.db"
    record_study(folder, url)
    command = [sys.executable, "-c", SERVE, url, str(folder), "0"]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        try:
            yield process, int(address.rstrip().rstrip("/").rsplit(":", 1)[1])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    with running_server(folder) as (_, port):
        yield port


def ask(port: int, method: str, path: str, body: str = "", **headers: str) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(
        method, path, body=body, headers={"Accept-Encoding": "identity", "Content-Type": "application/json"} | headers
    )
    return connection.getresponse()


def test_a_drawing_is_what_upload_artifact_would_have_left(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    trial = record_study(tmp_path, url)
    (meta,) = optuna.artifacts.get_all_artifact_meta(trial, storage=optuna.storages.RDBStorage(url))
    assert (meta.filename, meta.mimetype, meta.encoding) == ("layout.svg", "image/svg+xml", None)
    store = optuna.artifacts.FileSystemArtifactStore(tmp_path)
    with store.open_reader(meta.artifact_id) as file:
        assert file.read().decode() == SVG


def require_everything_is_served(port: int) -> None:
    (trial,) = json.load(ask(port, "GET", "/api/studies/1"))["trials"]
    shown = {attribute["key"]: attribute["value"] for attribute in trial["user_attrs"]}
    assert shown["layout"] == "conv x2 | attention x2"
    assert shown["reason"] == "macs over 30000"
    assert trial["constraints"] == [0.13]
    artifact = ask(port, "GET", f"/artifacts/1/{trial['trial_id']}/{trial['artifacts'][0]['artifact_id']}")
    assert (artifact.status, artifact.headers["Content-Type"], artifact.read().decode()) == (200, "image/svg+xml", SVG)


def test_the_dashboard_serves_attributes_constraints_and_drawing(port: int) -> None:
    require_everything_is_served(port)


@pytest.mark.postgres
def test_it_serves_a_study_on_postgresql(tmp_path: Path, empty_postgres_url: str) -> None:
    with running_server(tmp_path, empty_postgres_url) as (_, port):
        require_everything_is_served(port)


def test_the_dashboard_cannot_change_a_study(port: int, folder: Path) -> None:
    for method, path in [
        ("DELETE", "/api/studies/1"),
        ("POST", "/api/trials/1/tell"),
        ("POST", "/api/studies"),
        ("OPTIONS", "/api/studies/1"),
    ]:
        answer = ask(port, method, path, body='{"state": "Fail"}')
        assert (answer.status, b"the search alone" in answer.read()) == (403, True), path
    (trial,) = optuna.load_study(study_name="one", storage=f"sqlite:///{folder}/nas.db").trials
    assert trial.state is TrialState.RUNNING


def test_notes_are_taken_from_its_own_page_only(port: int) -> None:
    note = '{"version": 1, "body": "seen"}'
    assert ask(port, "PUT", "/api/studies/1/note", note, Origin="http://elsewhere.example").status == 403
    assert ask(port, "PUT", "/api/studies/1/note", note, Origin=f"http://localhost:{port}").status == 204
    assert json.load(ask(port, "GET", "/api/studies/1"))["note"]["body"] == "seen"


def test_a_tunnel_or_a_mapped_port_is_answered(port: int) -> None:
    for host in ("localhost:9000", "[::1]:18080"):
        assert ask(port, "GET", "/api/studies", Host=host).status == 200
    note = json.dumps({"version": 2, "body": "seen from afar"})
    answer = ask(port, "PUT", "/api/studies/1/note", note, Host="localhost:9000", Origin="https://localhost:9000")
    assert answer.status == 204


def test_a_refusal_says_what_was_refused(port: int) -> None:
    named = ask(port, "GET", "/api/studies", Host=f"rebound.example:{port}")
    assert (named.status, json.load(named)["reason"]) == (
        403,
        f"This dashboard answers to the names of this machine alone, and was asked for as rebound.example:{port}; "
        "open it as http://localhost, with the port that leads here.",
    )
    for origin in ("null", "http://localhost.evil.com", "file://localhost", "localhost"):
        note = ask(port, "PUT", "/api/studies/1/note", "{}", Origin=origin)
        assert (note.status, json.load(note)["reason"]) == (
            403,
            f"This dashboard takes notes from its own page alone, and this one came from {origin!r}.",
        )


def test_a_length_that_is_no_number_is_refused_too(port: int) -> None:
    for length in ("x", "-1"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(f"POST / HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
            assert b"403 Forbidden" in connection.makefile("rb").readline()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_cleanly(tmp_path: Path, end: signal.Signals) -> None:
    with (
        running_server(tmp_path) as (process, port),
        socket.create_connection(("127.0.0.1", port)),
    ):  # kept open, as a browser does
        assert ask(port, "GET", "/api/meta").status == 200
        process.send_signal(end)
        assert process.wait(timeout=5) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize("number", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(tmp_path: Path, number: int) -> None:
    with pytest.raises(InvalidInputError, match=f"port {number} is not a port; give one from 1 to 65535"):
        serve(optuna.storages.InMemoryStorage(), tmp_path, number, print)


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InvalidInputError,
            match=rf"port {port} on 127.0.0.1 cannot be used \(Address already in use\); give another",
        ):
            serve(optuna.storages.InMemoryStorage(), tmp_path, port, print)
