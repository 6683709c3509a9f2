"""Connections that give or take too much, too slowly, or in two ways."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import psutil

from benchmarks.attacks.asking import (
    API,
    Finding,
    ask,
)
from benchmarks.service_process import STUDY, Served

MEBIBYTE = b"x" * 2**20


def bodies(served: Served) -> Iterator[Finding]:
    """100 MB, with its length and without."""
    process = psutil.Process(served.process.pid)
    token = served.tokens["viewer"]
    head = f"HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
    for path in (f"{API}/studies", "/session"):
        for form in ("content-length: 104857600", "transfer-encoding: chunked"):
            before = process.memory_info().rss
            begun = time.monotonic()
            with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
                connection.sendall(f"POST {path} {head}{form}\r\n\r\n".encode())
                part = MEBIBYTE if "length" in form else b"100000\r\n" + MEBIBYTE + b"\r\n"
                for _ in range(100):
                    connection.sendall(part)
                status = connection.recv(64).split(b"\r\n")[0].decode()
            grown = (process.memory_info().rss - before) / 2**20
            answer = f"{status} after {time.monotonic() - begun:.1f} s; memory {grown:+.0f} MiB"
            yield Finding(f"100 MB to {path}, {form.partition(':')[0]}", answer, " 413 " in status and grown < 32)


def slow(served: Served) -> Iterator[Finding]:
    """Clients that keep a connection and give or take nothing."""
    token = f"authorization: Bearer {served.tokens['viewer']}\r\n"
    page = f"GET {API}/studies/{STUDY}/trials?limit=500 HTTP/1.1\r\nhost: x\r\n{token}\r\n".encode()
    post = f"POST {API}/studies HTTP/1.1\r\nhost: x\r\n{token}content-length: 100000000\r\n\r\n".encode()
    get = f"GET {API}/me HTTP/1.1\r\nhost: x\r\n".encode()
    process = psutil.Process(served.process.pid)
    before = process.memory_info().rss
    waits = {
        "nothing is sent": lambda: _trickle(served, b"", b""),
        "headers, a byte a second": lambda: _trickle(served, get, b"x"),
        "a body, a byte a second": lambda: _trickle(served, post, b"x"),
        "a body, a byte a second, behind its refusal": lambda: _trickle(served, post + 2 * MEBIBYTE, b"x"),
        "answers are asked for without end, and none is read": lambda: _unread(served, page),
    }
    took: dict[str, float] = {}
    threads = [threading.Thread(target=_timed, args=(took, what, wait)) for what, wait in waits.items()]
    for thread in threads:
        thread.start()
    time.sleep(5)
    begun = time.monotonic()
    status = ask(served, "GET", f"{API}/studies/{STUDY}").status
    meanwhile = time.monotonic() - begun
    grown = (process.memory_info().rss - before) / 2**20
    for thread in threads:
        thread.join()
    for what, seconds in took.items():
        yield Finding(what, f"cut after {seconds:.0f} s", seconds < 100)
    answer = f"{status} in {1_000 * meanwhile:.0f} ms; memory {grown:+.0f} MiB"
    yield Finding("another client meanwhile", answer, status == 200 and meanwhile < 1 and grown < 64)


def _timed(took: dict[str, float], what: str, wait: Callable[[], None]) -> None:
    begun = time.monotonic()
    with contextlib.suppress(OSError):
        wait()
    took[what] = time.monotonic() - begun


def _trickle(served: Served, beginning: bytes, part: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=1) as connection:
        connection.sendall(beginning)
        for _ in range(120):
            connection.sendall(part)
            with contextlib.suppress(TimeoutError):
                while connection.recv(65_536):
                    pass
                return


def _unread(served: Served, request: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=120) as connection:
        while True:
            connection.sendall(request)


def crowd(served: Served) -> Iterator[Finding]:
    """More connections than are taken, none of which says anything."""
    opened = []
    for _ in range(1_100):
        with contextlib.suppress(OSError):
            opened.append(socket.create_connection(("127.0.0.1", served.port), timeout=5))
    during = _status(served)
    begun = time.monotonic()
    while _status(served) != 200 and time.monotonic() - begun < 90:
        time.sleep(1)
    waited = time.monotonic() - begun
    for connection in opened:
        connection.close()
    answer = f"{len(opened)} open; others get {during}, and 200 again after {waited:.0f} s"
    yield Finding("1,100 silent connections", answer, waited < 90)


def _status(served: Served) -> int:
    try:
        return ask(served, "GET", f"{API}/health").status
    except OSError:
        return 0


def smuggling(served: Served) -> Iterator[Finding]:
    """Requests whose end can be read in two ways."""
    inner = f"GET {API}/health HTTP/1.1\r\nhost: x\r\n\r\n"
    heads = {
        "length and chunks": f"content-length: {len(inner) + 5}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
        "two lengths": f"content-length: 0\r\ncontent-length: {len(inner)}\r\n\r\n{inner}",
        "a length with a sign": f"content-length: +{len(inner)}\r\n\r\n{inner}",
        "chunks by another name": f"transfer-encoding: xchunked\r\n\r\n{inner}",
        "chunks twice": f"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n{inner}",
        "a space before the colon": f"transfer-encoding : chunked\r\n\r\n0\r\n\r\n{inner}",
        "a line that goes on": f"content-length: 0\r\nx: y\r\n transfer-encoding: chunked\r\n\r\n{inner}",
        "a bare line feed": f"x: y\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
        "headers of 1 MiB": f"x: {'y' * 2**20}\r\n\r\n",
        "a NUL in a header": "x: \0\r\n\r\n",
    }
    for what, rest in heads.items():
        with socket.create_connection(("127.0.0.1", served.port), timeout=2) as connection:
            content = b""
            with contextlib.suppress(OSError):
                connection.sendall(f"POST {API}/studies HTTP/1.1\r\nhost: x\r\n{rest}".encode())
                while part := connection.recv(65_536):
                    content += part
        answers = [line.split(b" ")[1].decode() for line in content.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        yield Finding(f"{what}", f"answers: {', '.join(answers) or 'none, cut'}", "500" not in answers)
