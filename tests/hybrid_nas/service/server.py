"""A real server on loopback, in a thread, and somebody who asks it."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI

from hybrid_nas.service.app import create_app
from hybrid_nas.service.core import Service
from hybrid_nas.service.settings import Settings
from hybrid_nas.service.wire import server_of
from tests.waiting import eventually


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as values."""
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """What was wrong."""
        return self.json["error"]


class Client:
    """Somebody with a token."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.port = port
        self._token = token

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request, below /api/v1 unless the path begins with two slashes."""
        sent = dict(headers or {})
        if self._token is not None:
            sent.setdefault("authorization", f"Bearer {self._token}")
        content = body
        if body is not None and not isinstance(body, bytes):
            content = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        address = path[1:] if path.startswith("//") else f"/api/v1{path}"
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, address, content, sent)  # type: ignore[arg-type]
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for something."""
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        """Ask for a change."""
        return self.ask("POST", path, body, headers)


@contextlib.contextmanager
def serving(settings: Settings, port: int = 0) -> Iterator[tuple[Service, int]]:
    """The service and its port, any free one by default, while the block runs."""
    app = create_app(settings)
    with running(app, port, settings.proxies) as port:
        yield app.state.service, port


@contextlib.contextmanager
def running(app: FastAPI, port: int = 0, proxies: Sequence[str] = ()) -> Iterator[int]:
    """The port of an application, any free one by default, while the block runs."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        server = server_of(app, proxies)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            eventually(lambda: server.started)
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
