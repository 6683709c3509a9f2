"""Clients that keep the service waiting are cut, and nobody else is."""

import asyncio
import contextlib
import http.client
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import closing
from typing import Any, cast

import psutil
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from db.writes import Writes
from hybrid_nas.service import wire
from hybrid_nas.service.app import BODY_BYTES, Limits
from hybrid_nas.service.courtesy import Courtesy
from hybrid_nas.service.glance import Glance
from hybrid_nas.service.kept import Answer
from hybrid_nas.service.shortcuts import SHORTCUTS, Shortcuts
from tests.hybrid_nas.service.server import running
from tests.waiting import eventually

LIMIT_S = 0.5
BLOCK = b"x" * 65_536


class Told:
    """What an application has done."""

    sent = 0
    """Blocks of a stream."""
    has_ended = False
    bodies = 0


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def port(told: Told, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """An application that counts bodies, thinks for longer than a client may, and streams without end."""
    monkeypatch.setattr(wire, "ARRIVAL_S", LIMIT_S)
    monkeypatch.setattr(wire, "READING_S", LIMIT_S)
    app = FastAPI()
    app.add_middleware(Limits)

    @app.post("/api/v1/body")
    async def body(request: Request) -> int:
        told.bodies += 1
        return len(await request.body())

    @app.get("/api/v1/thinking")
    async def thinking() -> str:
        await asyncio.sleep(3 * LIMIT_S)
        return "done"

    @app.get("/api/v1/endless")
    async def endless() -> StreamingResponse:
        return StreamingResponse(blocks(told))

    with running(app) as port:
        yield port


async def blocks(told: Told) -> AsyncIterator[bytes]:
    try:
        while True:
            told.sent += 1
            yield BLOCK
            await asyncio.sleep(0)  # as every stream of ours waits now and then
    finally:
        told.has_ended = True


def seconds_until_cut(connection: socket.socket, part: bytes) -> float:
    """How long a part can be sent ten times a second."""
    begun = time.monotonic()
    try:
        while time.monotonic() - begun < 20 * LIMIT_S:
            connection.sendall(part)
            time.sleep(0.1)
    except OSError:
        pass
    return time.monotonic() - begun


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /api/v1/thinking HTTP/1.1\r\n",
        b"GET /api/v1/thinking HTTP/1.1\r\nhost: x\r\nheader: ",
        b"POST /api/v1/body HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n",
        b"POST /api/v1/body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n186A0\r\n",
    ],
    ids=["headers", "a header", "a body", "a body in chunks"],
)
def test_what_arrives_slowly_is_cut(port: int, beginning: bytes, told: Told) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(beginning)
        assert LIMIT_S / 2 < seconds_until_cut(connection, b"x") < 6 * LIMIT_S
    assert told.bodies == 0


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /api/v1/thinking HTTP/1.1\r\nhost: x\r\nheader: ",
        b"POST /api/v1/body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;",
        b"POST /api/v1/body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\ntrailer: ",
    ],
    ids=["a method", "a header", "an extension of a chunk", "a trailer"],
)
def test_what_has_no_end_is_refused_before_much_of_it_is_kept(
    port: int, beginning: bytes, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "ARRIVAL_S", 60.0)
    taken = 0
    with socket.create_connection(("127.0.0.1", port), timeout=20 * LIMIT_S) as connection:
        connection.sendall(beginning)
        with contextlib.suppress(OSError):
            while taken < 2**26:
                taken += connection.send(b"x" * 4_096)
    assert taken < 2**24, "what the kernel holds, and not what there is"
    assert told.bodies == 0


def test_lines_before_a_request_do_not_last(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        assert seconds_until_cut(connection, b"\r\n") < 6 * LIMIT_S


def test_long_heads_are_read_up_to_the_limit(port: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/api/v1/body", b"{}", {"x-long": "x" * 30_000})
        assert connection.getresponse().read() == b"2"


def test_requests_that_come_together_are_answered_in_turn(port: int) -> None:
    request = b"POST /api/v1/body HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"
    with socket.create_connection(("127.0.0.1", port), timeout=20 * LIMIT_S) as connection:
        connection.sendall(b"GET /api/v1/thinking HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.sendall(request % (5, b"x" * 5) + request % (7, b"x" * 7))
        answers = b""
        while not answers.endswith(b"\r\n\r\n7"):
            answers += connection.recv(65_536) or pytest.fail(f"cut after {answers!r}")
    assert answers.index(b'"done"') < answers.index(b"\r\n\r\n5") < answers.index(b"\r\n\r\n7")


def test_who_says_nothing_is_cut(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20 * LIMIT_S) as connection:
        assert connection.recv(1) == b""


def test_a_body_that_goes_on_behind_its_refusal_is_cut(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /api/v1/body HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n")
        connection.sendall(b"x" * (BODY_BYTES + 1))
        assert connection.recv(12) == b"HTTP/1.1 413"
        assert seconds_until_cut(connection, b"x") < 6 * LIMIT_S


def test_who_waits_for_an_answer_is_not_cut(port: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for _ in range(2):
            connection.request("GET", "/api/v1/thinking")
            assert connection.getresponse().read() == b'"done"'
        connection.request("POST", "/api/v1/body", b"x" * BODY_BYTES)
        assert int(connection.getresponse().read()) == BODY_BYTES


def test_who_does_not_read_is_cut(port: int, told: Told) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /api/v1/endless HTTP/1.1\r\nhost: x\r\n\r\n")
        eventually(lambda: told.has_ended, 20 * LIMIT_S)
    assert told.sent * len(BLOCK) < 2**26, "what the kernel holds, and not what there is"


def test_a_body_without_its_end_is_no_request(port: int, told: Told) -> None:
    for head in (b"content-length: 10\r\n\r\n{}", b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"POST /api/v1/body HTTP/1.1\r\nhost: x\r\n" + head)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/api/v1/body", b"{}")
        assert connection.getresponse().read() == b"2"
    assert told.bodies == 1


@pytest.mark.parametrize("request_line", [b"GET /api/v1/thinking", b"POST /api/v1/body"])
def test_a_client_that_has_said_all_still_gets_its_answer(port: int, request_line: bytes) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request_line + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert answer.startswith(b"HTTP/1.1 200")


def test_a_client_that_leaves_within_its_request_is_left(port: int, told: Told) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"POST /api/v1/body HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65_536) == b""
    assert told.bodies == 0


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """An application with one address that answers the short way from the second time on, and thinks about it."""
    monkeypatch.setattr(wire, "ARRIVAL_S", 4 * LIMIT_S)
    courtesy = Courtesy()
    shortcuts = Shortcuts(Glance(cast(Writes, Unwritten())), admitted, courtesy)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {SHORTCUTS: shortcuts}

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(Limits)

    @app.get("/known")
    async def answer(request: Request, n: int = 0) -> Response:
        shortcuts._glance.end()
        return await shortcuts.answer(request, thought, n)

    @app.post("/other")
    async def other(request: Request) -> int:
        return len(await request.body())

    with running(app) as port:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("GET", "/known")
            assert connection.getresponse().read() == b"0"
        shortcuts._glance.end()
        yield port


class Unwritten:
    """A database that nobody writes to."""

    count = 0


async def admitted(request: Request) -> None:
    """Everybody may ask."""


def thought(number: int) -> Answer:
    time.sleep(LIMIT_S / 2)
    return Answer.of_json(number)


KNOWN = b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n"
OTHER = b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"


def received(connection: socket.socket, end: bytes) -> bytes:
    """What came until it ended so."""
    found = b""
    while not found.endswith(end):
        found += connection.recv(65_536) or pytest.fail(f"cut after {found!r}")
    return found


def test_the_short_way_answers_in_turn_what_comes_behind(known: int) -> None:
    with socket.create_connection(("127.0.0.1", known), timeout=60) as connection:
        connection.sendall(KNOWN)
        time.sleep(LIMIT_S / 5)
        connection.sendall(OTHER + KNOWN[:9])
        time.sleep(LIMIT_S / 5)
        connection.sendall(KNOWN[9:] + OTHER)
        found = received(connection, b"\r\n\r\n3")
        while found.count(b"HTTP/1.1 200 OK\r\n") < 4:
            found += received(connection, b"\r\n\r\n3")
    bodies = [part[:1] for part in found.split(b"\r\n\r\n")[1:]]
    assert bodies == [b"0", b"3", b"0", b"3"]


def test_a_client_that_has_said_all_gets_its_answer_the_short_way(known: int) -> None:
    with socket.create_connection(("127.0.0.1", known), timeout=60) as connection:
        connection.sendall(KNOWN)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n0")
    assert b"connection: close\r\n" in answer


def test_answers_of_both_ways_are_the_same(known: int) -> None:
    """The second request lacks what the short way needs."""
    answers = []
    for request in (KNOWN, KNOWN.replace(b"Host: x", b"Host:x")):
        with socket.create_connection(("127.0.0.1", known), timeout=60) as connection:
            connection.sendall(request)
            answers.append(received(connection, b"\r\n\r\n0").split(b"\r\n"))
    without_date = [sorted(line for line in lines if not line.startswith(b"date:")) for lines in answers]
    assert without_date[0] == without_date[1]
    assert any(line.startswith(b"content-security-policy:") for line in answers[0])


def test_who_rests_after_the_short_way_is_cut_and_who_asks_is_not(known: int) -> None:
    with socket.create_connection(("127.0.0.1", known), timeout=60) as connection:
        begun = time.monotonic()
        while time.monotonic() - begun < 6 * LIMIT_S:
            connection.sendall(KNOWN)
            received(connection, b"\r\n\r\n0")
        begun = time.monotonic()
        assert connection.recv(1) == b""
        assert 2 * LIMIT_S < time.monotonic() - begun < 20 * LIMIT_S


def test_a_client_that_leaves_the_short_way_is_left(known: int) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", known), timeout=60) as connection:
            connection.sendall(KNOWN)
    eventually(lambda: not held_at(known), 20 * LIMIT_S)
    with socket.create_connection(("127.0.0.1", known), timeout=60) as connection:
        connection.sendall(KNOWN)
        assert received(connection, b"\r\n\r\n0").startswith(b"HTTP/1.1 200 OK\r\n")


def held_at(port: int) -> list[object]:
    """Connections that the server, in this process, still has."""
    held = psutil.Process().net_connections("tcp")
    return [each for each in held if each.laddr.port == port and each.status != psutil.CONN_LISTEN]


class Recording(asyncio.Transport):
    """Notes what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed
        self.written.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def test_what_is_written_at_once_is_sent_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "GATHERED_BYTES", 10)

    async def write() -> list[bytes]:
        transport = Recording()
        gathered = wire.Gathered(transport, asyncio.get_running_loop())
        assert gathered.get_extra_info("peername") == ("127.0.0.1", 1)
        for part in (b"head", b"body", b""):
            gathered.write(part)
        assert transport.written == []
        await asyncio.sleep(0)
        assert transport.written == [b"headbody"]
        gathered.write(b"more than ten bytes")
        assert transport.written[1:] == [b"more than ten bytes"]
        gathered.write(b"last")
        gathered.close()
        gathered.write(b"late")
        await asyncio.sleep(0)
        return transport.written[2:]

    assert asyncio.run(write()) == [b"last"]
