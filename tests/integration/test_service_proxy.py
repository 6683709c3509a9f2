"""The service behind nginx with TLS, by the very lines of the guide, and our commands over HTTPS."""

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from db.store import open_store
from hybrid_nas.service.core import Service
from hybrid_nas.service.settings import Settings
from tests.hybrid_nas.service.server import Client, serving
from tests.recorded.record import unpack
from tests.samples import study_record, trial
from tests.waiting import eventually

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "service.md"
AROUND = """
daemon off; pid nginx.pid; error_log error.log;
events {}
http {
    access_log access.log;
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
"""
FORM = {"content-type": "application/x-www-form-urlencoded"}

pytestmark = pytest.mark.skipif(NGINX is None or shutil.which("openssl") is None, reason="needs nginx and openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that signs itself; its key lies beside it."""
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "nas.key", "-out", "nas.pem"]
    subprocess.run([*command.split(), *files], cwd=folder, check=True, capture_output=True)
    return folder / "nas.pem"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Service, int]]:
    unpack(tmp_path)
    settings = Settings(
        storage=f"sqlite:///{tmp_path}/nas.db",
        artifacts=str(tmp_path / "artifacts"),
        folder=tmp_path / "service",
        zoo=tmp_path / "zoo",
        program=("/bin/true",),
        proxies=("127.0.0.1",),
    )
    with serving(settings) as (service, port):
        yield service, port


@pytest.fixture
def port(served: tuple[Service, int], certificate: Path, tmp_path: Path) -> Iterator[int]:
    """Of nginx, before the service."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = re.search(r"```nginx\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert given is not None
    lines = (
        given[1].replace("listen 443", f"listen 127.0.0.1:{port}").replace("127.0.0.1:8000", f"127.0.0.1:{served[1]}")
    )
    lines = lines.replace("/etc/ssl", str(certificate.parent))
    folder = tmp_path / "nginx"
    folder.mkdir()
    folder.joinpath("nginx.conf").write_text(f"{AROUND}{lines}}}", encoding="utf-8")
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-p", str(folder), "-e", "error.log", "-c", "nginx.conf"])
    try:
        eventually(lambda: _listens(port), 10)
        yield port
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def connected(port: int, certificate: Path) -> closing[http.client.HTTPSConnection]:
    context = ssl.create_default_context(cafile=str(certificate))
    return closing(http.client.HTTPSConnection("localhost", port, timeout=30, context=context))


def test_a_session_is_for_https_only(served: tuple[Service, int], port: int, certificate: Path) -> None:
    secret = served[0].tokens.add("ada", "user")
    page = {"origin": f"https://localhost:{port}"}
    with connected(port, certificate) as connection:
        connection.request("POST", "/session", f"token={secret}&to=/zoo", {**FORM, **page})
        answer = connection.getresponse()
        answer.read()
        cookie, *attributes = answer.headers["set-cookie"].split("; ")
        assert (answer.status, answer.headers["location"]) == (303, "/zoo")
        assert {"HttpOnly", "Secure", "SameSite=strict"} <= set(attributes)
        connection.request("GET", "/zoo", headers={"cookie": cookie})
        assert b"ada, user" in connection.getresponse().read()
        connection.request("POST", "/session", f"token={secret}", {**FORM, "origin": "https://evil.example"})
        refused = connection.getresponse()
        refused.read()
        assert refused.status == 403
    assert (
        "Secure"
        not in Client(served[1]).ask("POST", "//session", f"token={secret}".encode(), FORM).headers["set-cookie"]
    )


def test_who_is_behind_the_proxy_is_counted_by_address(
    served: tuple[Service, int], port: int, certificate: Path
) -> None:
    served[0].tokens.add("ada", "user")
    with connected(port, certificate) as connection:
        statuses = []
        for number in range(15):
            forged = {"authorization": "Bearer nas_wrong", "x-forwarded-for": f"198.51.100.{number}"}
            connection.request("GET", "/api/v1/me", headers=forged)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
    assert statuses[-1] == 429, "nginx says the address, and no client"


def test_events_pass_at_once(served: tuple[Service, int], port: int, certificate: Path, tmp_path: Path) -> None:
    secret = served[0].tokens.add("ada", "viewer")
    with closing(open_store(f"sqlite:///{tmp_path}/nas.db")) as store, connected(port, certificate) as connection:
        store.create_study(study_record(name="live"))
        connection.request("GET", "/api/v1/studies/live/events", headers={"authorization": f"Bearer {secret}"})
        answer = connection.getresponse()
        while not answer.readline().startswith(b"event: state"):
            pass
        store.record("live", trial(0, 0.5, 2.0), None)
        recorded = time.monotonic()
        while not (line := answer.readline()).startswith(b'data: {"number"'):
            pass
        assert time.monotonic() - recorded < 5
        assert json.loads(line.removeprefix(b"data: "))["top1"] == 0.5


def test_our_commands_trust_an_authority_of_ones_own(
    served: tuple[Service, int],
    port: int,
    certificate: Path,
    run_command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NAS_TOKEN", served[0].tokens.add("ada", "user"))
    monkeypatch.setenv("NAS_SERVER", f"https://localhost:{port}")
    code, _, errors = run_command("list")
    assert (code, errors.count("\n")) == (2, 1)
    assert "has a certificate that is not trusted here" in errors and "SSL_CERT_FILE" in errors
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    code, output, errors = run_command("list")
    assert (code, errors) == (0, "") and "recorded" in output
    monkeypatch.setenv("NAS_SERVER", f"http://nas.example.org:{port}")
    code, _, errors = run_command("list")
    assert (code, errors.count("\n")) == (2, 1)
    assert "would cross the network unencrypted; give its https URL" in errors
