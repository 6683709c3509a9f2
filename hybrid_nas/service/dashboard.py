"""Optuna's dashboard behind the door of the service, for reading.

It has no authentication of its own, and its page asks for absolute paths. So these paths are ours, each GET is passed
on for a caller who may look, and nothing else is.
"""

import contextlib
import threading
from collections.abc import Mapping
from typing import Any
from wsgiref.util import setup_testing_defaults

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from hybrid_nas import parts
from hybrid_nas.service.auth import CurrentCaller
from hybrid_nas.service.settings import Settings
from nas.reports.dashboard import WsgiApp, dashboard_app
from nas.search.attributes import drawings_folder

router = APIRouter(include_in_schema=False)

ASKED = "/api/"
"""Begins the paths that its script asks for."""
READ_ONLY = "This dashboard only shows studies; the pages of the service and its searches change them."


class Dashboard:
    """The dashboard over the database of a service, opened when somebody looks at it."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is opened yet."""
        self._settings = settings
        self._opened = contextlib.ExitStack()
        self._opening = threading.Lock()
        self._app: WsgiApp | None = None

    def get(self, path: str, query: str, encodings: str) -> Response:
        """What the dashboard answers to a GET.

        Args:
            path: of the request.
            query: its part behind the question mark.
            encodings: what the browser can unpack.

        Raises:
            InvalidInputError: if the database holds no search yet.
        """
        # PEP 3333: the bytes of the path, each as one sign.
        place = path.encode().decode("latin-1")
        environ: dict[str, Any] = {"PATH_INFO": place, "QUERY_STRING": query, "HTTP_ACCEPT_ENCODING": encodings}
        setup_testing_defaults(environ)
        begun: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], error: object = None) -> None:
            begun[:] = [status, headers]

        content = self._opened_app()(environ, start_response)
        try:
            body = b"".join(content)
        finally:
            if hasattr(content, "close"):
                content.close()
        status, headers = begun
        return Response(body, int(status.split()[0]), dict(headers))

    def close(self) -> None:
        """Close the connections."""
        self._opened.close()

    def _opened_app(self) -> WsgiApp:
        with self._opening:
            if self._app is None:
                self._app = self._open()
            return self._app

    def _open(self) -> WsgiApp:
        workspace = parts.workspace_of(self._settings.storage, self._settings.artifacts)
        storage = self._opened.enter_context(parts.optuna_storage(self._settings.storage))
        return dashboard_app(storage, drawings_folder(workspace.artifacts))


@router.get("/dashboard")
@router.get("/dashboard/{rest:path}")
@router.get("/static/bundle.js")
@router.get("/artifacts/{rest:path}")
@router.get("/csv/{rest:path}")
@router.get("/api/meta")
@router.get("/api/studies")
@router.get("/api/studies/{rest:path}")
def show(request: Request, caller: CurrentCaller) -> Response:
    """What the dashboard's page asks for."""
    dashboard: Dashboard = request.app.state.dashboard
    return dashboard.get(request.url.path, request.url.query, request.headers.get("accept-encoding", ""))


def refusal(request: Request, status: int, line: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as the dashboard's page shows it."""
    reason = line if request.method == "GET" else READ_ONLY
    return JSONResponse({"reason": reason}, status, dict(headers or {}))
