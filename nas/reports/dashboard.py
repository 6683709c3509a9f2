"""What a recorded trial shows in the Optuna dashboard, and the local server that shows it.

optuna-dashboard has no authentication: whoever reaches its port can tell trials and delete studies (its own web page
offers both). One coordinator owns a study (DESIGN 2.1), so the server here lets people read, and write notes, and
nothing else.
"""

import json
import math
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage

from nas.errors import InvalidInputError, NasError
from nas.records import Costs, Latency
from nas.signals import StopSignals

HOST = "127.0.0.1"

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def trial_attributes(*, layout: str, arch_hash: str, costs: Costs, reason: str | None = None) -> dict[str, str | int]:
    """User attributes of a trial that are known when it is created; they travel in its template, so they cost no
    transaction.

    Args:
        layout: one readable line.
        arch_hash: 64 hex digits.
        costs: known before training.
        reason: why the trial is rejected; None for one that is evaluated.
    """
    attributes: dict[str, str | int] = {
        "layout": layout,
        "arch_hash": arch_hash,
        "param_count": costs.param_count,
        "macs": costs.macs,
    }
    return attributes if reason is None else attributes | {"reason": reason}


def latency_attribute(latency: Latency) -> tuple[str, str]:
    """Key and text of the user attribute that shows a timing with its interval: one attribute, so one transaction."""
    interval = f"95 % interval {latency.ci_low_ms:.4g} to {latency.ci_high_ms:.4g}"
    return "latency", f"{latency.median_ms:.4g} ms ({interval}, p95 {latency.p95_ms:.4g}, {latency.samples} samples)"


def constraint_attributes(values: Mapping[str, float]) -> dict[str, float | list[float]]:
    """System attributes that mark a trial as feasible (every value <= 0) or not.

    Args:
        values: constraint name -> value, finite, in a stable order.

    Returns:
        `constraints:NAME` for Optuna 5, and the list `constraints` of Optuna 4, the only one that optuna-dashboard 0.21
        reads. Optuna reads both, so the total violation counts twice, in every trial alike; feasibility is the same.

    Raises:
        ValueError: if a value is NaN or infinite.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"constraint {name} is {value}; only finite numbers are recorded")
    named: dict[str, float | list[float]] = {f"constraints:{name}": value for name, value in values.items()}
    return named | {"constraints": list(values.values())}


def drawings_folder(artifacts: Path) -> Path:
    """Where the drawings of all studies stand."""
    return artifacts / "drawings"


def make_drawings_folder(artifacts: Path) -> Path:
    """The same, made if it is missing.

    Raises:
        InvalidInputError: if it cannot be made or written.
    """
    folder = drawings_folder(artifacts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"cannot make the folder {folder} ({error.strerror}); give a folder that you may write as --artifacts"
        ) from error
    if not os.access(folder, os.W_OK):
        raise InvalidInputError(
            f"cannot write into the folder {folder}; give a folder that you may write as --artifacts"
        )
    return folder


def drawing_attributes(svg: str, artifact_folder: Path) -> dict[str, str]:
    """Store a drawing as an artifact and describe it in system attributes for the template of a trial.

    `optuna.artifacts.upload_artifact` does the same for a trial that exists already, at the price of one more
    transaction.

    Args:
        svg: an SVG document.
        artifact_folder: existing folder; the file is written into it under a new UUID.

    Raises:
        NasError: if it cannot be written (no space, no permission).
    """
    artifact_id = str(uuid.uuid4())
    try:
        (artifact_folder / artifact_id).write_text(svg, encoding="utf-8")
    except OSError as error:
        raise NasError(
            f"a drawing cannot be kept under {artifact_folder}: {error.strerror}; make room or give another --artifacts"
        ) from error
    description = {"artifact_id": artifact_id, "filename": "layout.svg", "mimetype": "image/svg+xml", "encoding": None}
    return {f"artifacts:{artifact_id}": json.dumps(description)}


def serve(storage: BaseStorage, artifact_folder: Path, port: int, started: Callable[[str], None]) -> None:
    """Show the studies of a storage on this machine until Ctrl-C or SIGTERM. Runs in the main thread.

    Args:
        storage: an Optuna storage that is already open.
        artifact_folder: where `drawing_attributes` wrote.
        port: 1 to 65535, or 0 for any free one.
        started: receives the URL once the port is open.

    Raises:
        InvalidInputError: if the port cannot be used.
    """
    from optuna_dashboard import (
        wsgi,
    )  # here, because it takes a second (it loads scikit-learn), which a search would pay as well

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
