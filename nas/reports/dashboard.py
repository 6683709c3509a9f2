"""The local server that shows studies in the Optuna dashboard.

optuna-dashboard has no authentication: whoever reaches its port can tell trials and delete studies (its own web page
offers both). One coordinator owns a study (DESIGN 2.1), so the server here lets people read, and write notes, and
nothing else.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage

from nas.errors import InvalidInputError
from nas.signals import StopSignals

HOST = "127.0.0.1"

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve(storage: BaseStorage, artifact_folder: Path, port: int, started: Callable[[str], None]) -> None:
    """Show the studies of a storage on this machine until Ctrl-C or SIGTERM. Runs in the main thread.

    Args:
        storage: an Optuna storage that is already open.
        artifact_folder: of the drawings.
        port: 1 to 65535, or 0 for any free one.
        started: receives the URL once the port is open.

    Raises:
        InvalidInputError: if the port cannot be used.
    """
    # Here, because it takes a second (it loads scikit-learn), which a search would pay as well.
    from optuna_dashboard import wsgi

    with _bind(port) as server:
        address = f"{HOST}:{server.server_port}"
        server.set_app(_reading_only(wsgi(storage, artifact_store=FileSystemArtifactStore(artifact_folder)), address))
        with StopSignals(), suppress(KeyboardInterrupt):
            started(f"http://{address}/")
            server.serve_forever(poll_interval=0.2)


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    # A browser keeps connections open: the end must not wait for them.
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Write no access log: an open page asks every few seconds."""


def _bind(port: int) -> WSGIServer:
    if not 0 <= port <= 65535:
        raise InvalidInputError(f"port {port} is not a port; give one from 1 to 65535, or 0 for any free one")
    try:
        return make_server(HOST, port, _forbidden, server_class=_ThreadingServer, handler_class=_QuietHandler)
    except OSError as error:
        raise InvalidInputError(
            f"port {port} on {HOST} cannot be used ({error.strerror}); give another with --port"
        ) from error


def _reading_only(app: WsgiApp, address: str) -> WsgiApp:
    """Pass on what reads, and notes that come from the dashboard's own page.

    The Host check keeps a foreign web page from reading through a name of its own that resolves to this machine (DNS
    rebinding).
    """
    hosts = {address, address.replace(HOST, "localhost")}

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        reads = environ["REQUEST_METHOD"] in ("GET", "HEAD")
        note = environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].endswith("/note")
        own_page = environ.get("HTTP_ORIGIN", "").removeprefix("http://") in hosts
        if environ.get("HTTP_HOST") in hosts and (reads or (note and own_page)):
            return app(environ, start_response)
        return _forbidden(environ, start_response)

    return guarded


def _forbidden(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    # A socket closed with unread bytes resets the connection, and the answer may be lost with it.
    environ["wsgi.input"].read(min(int(environ.get("CONTENT_LENGTH") or 0), 1_000_000))
    start_response(
        f"{HTTPStatus.FORBIDDEN.value} {HTTPStatus.FORBIDDEN.phrase}", [("Content-Type", "application/json")]
    )
    return [
        json.dumps({"reason": "This dashboard shows studies and takes notes; the search alone changes them."}).encode()
    ]
