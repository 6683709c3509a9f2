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
from nas.hosts import names_this_machine
from nas.signals import StopSignals
from nas.text import printable

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
    with _bind(port) as server:
        address = f"{HOST}:{server.server_port}"
        server.set_app(_reading_only(dashboard_app(storage, artifact_folder)))
        with StopSignals(), suppress(KeyboardInterrupt):
            started(f"http://{address}/")
            server.serve_forever(poll_interval=0.2)


def dashboard_app(storage: BaseStorage, artifact_folder: Path) -> WsgiApp:
    """The dashboard as it is: whoever passes on more than GET lets people change studies.

    Args:
        storage: an Optuna storage that is already open.
        artifact_folder: of the drawings.
    """
    # Here, because it takes a second (it loads scikit-learn), which a search would pay as well.
    from optuna_dashboard import wsgi

    app: WsgiApp = wsgi(storage, artifact_store=FileSystemArtifactStore(artifact_folder))
    return app


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
        return make_server(HOST, port, _starting, server_class=_ThreadingServer, handler_class=_QuietHandler)
    except OSError as error:
        raise InvalidInputError(
            f"port {port} on {HOST} cannot be used ({error.strerror}); give another with --port"
        ) from error


def _reading_only(app: WsgiApp) -> WsgiApp:
    """Pass on what reads, and notes that come from the dashboard's own page.

    The check of Host keeps a foreign web page from reading through a name of its own that resolves to this machine (DNS
    rebinding). A tunnel or a mapped port changes the port, and may come from another loopback name.
    """

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        reason = _refusal(environ)
        return app(environ, start_response) if reason is None else _forbidden(environ, start_response, reason)

    return guarded


def _refusal(environ: dict[str, Any]) -> str | None:
    """Why a request is refused; None for one that is answered."""
    host = environ.get("HTTP_HOST", "")
    if not names_this_machine(host):
        return (
            f"This dashboard answers to the names of this machine alone, and was asked for as {printable(host[:100])}; "
            "open it as http://localhost, with the port that leads here."
        )
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return None
    if environ["REQUEST_METHOD"] != "PUT" or not environ["PATH_INFO"].endswith("/note"):
        return "This dashboard shows studies and takes notes; the search alone changes them."
    origin = environ.get("HTTP_ORIGIN", "")
    scheme, _, authority = origin.partition("://")
    if scheme in ("http", "https") and names_this_machine(authority):
        return None
    return f"This dashboard takes notes from its own page alone, and this one came from {printable(origin[:100])!r}."


def _forbidden(environ: dict[str, Any], start_response: Callable[..., Any], reason: str) -> Iterable[bytes]:
    # A socket closed with unread bytes resets the connection, and the answer may be lost with it.
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        environ["wsgi.input"].read(min(int(length), 1_000_000))
    start_response(
        f"{HTTPStatus.FORBIDDEN.value} {HTTPStatus.FORBIDDEN.phrase}", [("Content-Type", "application/json")]
    )
    return [json.dumps({"reason": reason}).encode()]


def _starting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return _forbidden(environ, start_response, "This dashboard is not ready yet.")
