"""What a receiver on loopback hears, and what a search notices of a slow, a dead or a redirecting one."""

import contextlib
import hashlib
import hmac
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hybrid_nas import notifying as module
from hybrid_nas.api import search
from hybrid_nas.notifying import HOSTS_VARIABLE, KEY_FILE_VARIABLE, Notifier, Receiver, is_public, notifying
from nas.errors import InvalidInputError, NasError
from nas.records import Front, FrontMember
from nas.search.events import Ended, FrontGrew
from nas.workspace import NOTIFY_KEY_VARIABLE

KEY = "a key of two"
MEMBER = FrontMember(3, "a" * 64, 0.5, 2.0)
GREW = FrontGrew(Front(1, datetime.now(UTC), (0.1, 9.0), 0.25, (MEMBER,)))
END = Ended("budget reached", True)


class Heard(http.server.ThreadingHTTPServer):
    """A receiver that answers as it is told to."""

    def __init__(self, status: int = 204, wait_s: float = 0.0) -> None:
        self.status = status
        self.wait_s = wait_s
        self.messages: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.messages]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Heard

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.messages.append((self.headers["NAS-Signature"], body))
        time.sleep(self.server.wait_s)
        with contextlib.suppress(OSError):
            self.send_response(self.server.status)
            self.send_header("Location", f"{self.server.url}/elsewhere")
            self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def receiving(status: int = 204, wait_s: float = 0.0) -> Iterator[Heard]:
    with Heard(status, wait_s) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NOTIFY_KEY_VARIABLE, KEY)
    monkeypatch.delenv(HOSTS_VARIABLE, raising=False)
    monkeypatch.setattr(module, "PAUSES_S", (0.01, 0.01))


def test_a_front_and_an_end_are_told_and_signed() -> None:
    said: list[str] = []
    with receiving() as server, notifying(server.url, "s", lambda event: None, said.append) as hear:
        hear(GREW)
        hear(GREW)
        hear(END)
    assert [event["event"] for event in server.events()] == ["front", "end"], "at most one front a minute"
    assert server.events()[0]["front"] == [{"trial_number": 3, "top1": 0.5, "cost": 2.0}]
    assert server.events()[1]["reason"] == "budget reached" and not said
    for header, body in server.messages:
        seconds, _, proof = header.removeprefix("t=").partition(",v1=")
        expected = hmac.new(KEY.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(proof, expected) and abs(time.time() - int(seconds)) < 60


def test_fronts_are_told_again_after_the_pause() -> None:
    sent: list[Any] = []
    notifier = Notifier(sent.append, "s", front_s=0.05)
    for _ in range(3):
        notifier.hear(GREW)
        time.sleep(0.06)
    notifier.close()
    assert [each["event"] for each in sent] == ["front"] * 3


def test_a_failure_is_told() -> None:
    with receiving() as server:
        with pytest.raises(NasError), notifying(server.url, "s", lambda event: None, lambda text: None):
            raise NasError("the disk is full\nmore")
        (event,) = server.events()
    assert (event["event"], event["reason"]) == ("failure", "the disk is full")


def test_a_search_tells_and_the_study_goes_on_without_it(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/a.db"
    with receiving() as server:
        search(
            space="conv_only",
            budget=2,
            storage=storage,
            quiet=True,
            evaluate=_half,
            objectives="top1,macs",
            notify=server.url,
        )
        events = server.events()
    assert [event["event"] for event in events] == ["front", "end"]
    assert (events[-1]["evaluated"], events[-1]["budget"], events[-1]["complete"]) == (2, 2, True)
    more = search(space="conv_only", budget=3, storage=storage, quiet=True, evaluate=_half, objectives="top1,macs")
    assert len(more.trials) == 3


def _half(spec: Any) -> float:
    return 0.5


def test_a_slow_receiver_slows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.2)
    said: list[str] = []
    with receiving(wait_s=1.0) as server:
        begun = time.monotonic()
        with notifying(server.url, "s", lambda event: None, said.append) as hear:
            for _ in range(100):
                hear(END)
            assert time.monotonic() - begun < 0.2
        assert time.monotonic() - begun < 0.6
    assert said == ["note: --notify lost a message: too many messages wait"]


def test_a_dead_receiver_is_named_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    said: list[str] = []
    with notifying(f"http://127.0.0.1:{port}/secret", "s", lambda event: None, said.append) as hear:
        hear(END)
    assert len(said) == 1 and "127.0.0.1 cannot be told" in said[0] and "secret" not in said[0]


def test_a_redirection_is_not_followed() -> None:
    said: list[str] = []
    with receiving(status=307) as server, notifying(server.url, "s", lambda event: None, said.append) as hear:
        hear(GREW)
    assert len(server.messages) == 1 and said == ["note: --notify lost a message: 127.0.0.1 answered 307"]


def test_an_end_is_sent_again() -> None:
    with receiving(status=503) as server, notifying(server.url, "s", lambda event: None, lambda text: None) as hear:
        hear(END)
    assert len({event["id"] for event in server.events()}) == 1 and len(server.messages) == 3


def test_the_fence_refuses_hosts_and_private_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOSTS_VARIABLE, "localhost,ours.example")
    with pytest.raises(InvalidInputError, match=r"the host other.example is not allowed here; allowed: localhost,ours"):
        Receiver.of("https://other.example/x")
    with receiving() as server:
        receiver = Receiver.of(f"http://localhost:{server.server_address[1]}/")
        with pytest.raises(NasError, match=r"localhost is at .*, which is not public; it is not told"):
            receiver.post({})
        assert not server.messages


def test_the_address_that_was_looked_at_is_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOSTS_VARIABLE, "ours.example")
    answers = iter([[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 80))]])
    used: list[object] = []

    def connect(address: object, timeout: float) -> socket.socket:
        used.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_, **__: next(answers))
    monkeypatch.setattr(module.socket, "create_connection", connect)
    with pytest.raises(NasError):
        Receiver.of("http://ours.example/").post({})
    assert used == [("93.184.215.14", 80)]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "0.0.0.0",
        "::1",
        "fe80::1%eth0",
        "::ffff:127.0.0.1",
        "fd00::1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "224.0.0.1",
        "100.64.0.1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "::ffff:93.184.215.14"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://x/", "it is no URL of HTTP"),
        ("https://a:b@x/", "it holds a user or a password"),
        ("http://x:y/", "it cannot be read"),
        ("http://x/\r\nA: b", "it is no URL of HTTP"),
    ],
)
def test_bad_urls(url: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Receiver.of(url)


def test_the_key_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv(NOTIFY_KEY_VARIABLE)
    with pytest.raises(
        InvalidInputError, match="there is no key; set NAS_NOTIFY_KEY, or NAS_NOTIFY_KEY_FILE to a file"
    ):
        Receiver.of("http://x/")
    (tmp_path / "key").write_text("k\n")
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(tmp_path / "key"))
    assert Receiver.of("http://x/").key == b"k"
