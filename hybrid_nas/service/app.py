"""The application: routes, errors as JSON, limits on what comes in, headers on what goes out."""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from db.store import open_store
from hybrid_nas.service import dashboard, pages, sessions
from hybrid_nas.service.api import jobs, meta, studies, zoo
from hybrid_nas.service.auth import Door, retry_after
from hybrid_nas.service.core import Service
from hybrid_nas.service.courtesy import GivesWay, lower_priority
from hybrid_nas.service.document import REFUSALS
from hybrid_nas.service.errors import BusyError, ServiceError, UnauthorizedError
from hybrid_nas.service.events import Tail
from hybrid_nas.service.headers import HEADERS, with_all
from hybrid_nas.service.options import SearchOptions
from hybrid_nas.service.settings import Settings
from hybrid_nas.service.shortcuts import SHORTCUTS, Shortcuts
from nas.errors import InvalidInputError, NasError, UnavailableError, first_line
from nas.version import code_version

logger = logging.getLogger(__name__)

PREFIX = "/api/v1"
BODY_BYTES = 2**20
"""The largest body of a request."""
NUL = "the address holds a NUL, which no name here has; leave it out"
"""PostgreSQL takes none."""
EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "an object of JSON",
}
"""Kind of a fault, as pydantic names it -> what was expected, as nas.config says it."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


def create_app(settings: Settings, check_owner: Callable[[], None] = lambda: None) -> FastAPI:
    """The application over a database, which is opened here; the queue is looked after while it runs.

    Args:
        settings: of the service.
        check_owner: raises once another service has taken over the database.

    Raises:
        InvalidInputError: if the database cannot be used.
    """
    store = open_store(settings.storage)
    service = Service(settings, store, check_owner)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        service.supervisor.start()
        lower_priority()  # behind the supervisor, whose children keep the priority that the service was started with
        try:
            yield {SHORTCUTS: app.state.shortcuts}
        finally:
            await asyncio.to_thread(service.supervisor.end)
            app.state.dashboard.close()
            service.close()
            store.close()

    app = FastAPI(
        title="hybrid-nas",
        version=code_version(),
        description="Searches for hybrid vision backbones: submit, follow, stop, continue, export.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        telemetry={"tracing": False, "metrics": False, "logs": False},  # looked for at each request otherwise
    )
    app.state.service = service
    app.state.door = Door(service)
    app.state.tail = Tail(service)
    known_caller = partial(app.state.door.caller, is_tried=False)  # what is wrong counts when the application sees it
    app.state.shortcuts = Shortcuts(service.glance, known_caller, service.courtesy)
    for subject in (meta, studies, jobs, zoo):
        app.include_router(subject.router, prefix=PREFIX, responses=REFUSALS)
    for shown in (sessions, dashboard, pages):
        app.include_router(shown.router)
    app.state.dashboard = dashboard.Dashboard(settings)
    app.add_exception_handler(NasError, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(GivesWay, courtesy=service.courtesy)
    app.add_middleware(Limits)
    return app


class Limits:
    """Refuses bodies that are too large, and adds the headers that every answer has."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        """Stand before an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Scope) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_all(message["headers"])
            await send(message)

        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await _error(Request(scope), 400, NUL)(scope, receive, send_with_headers)
            return
        body = await _body(receive)
        if body is None:
            return
        if len(body) > BODY_BYTES:
            answer = _error(Request(scope), 413, f"the body is too large; send at most {BODY_BYTES:,} bytes")
            await answer(scope, receive, send_with_headers)
            return
        left = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Scope:
            return left.pop() if left else await receive()

        await self._app(scope, receive_again, send_with_headers)


async def _body(receive: Receive) -> bytes | None:
    """The body, or its beginning where it is too large; None where its client has gone before its end."""
    content = bytearray()
    while len(content) <= BODY_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        content += message["body"]
        if not message["more_body"]:
            break
    return bytes(content)


def _error(
    request: Request, status: int, message: str, field: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """JSON for programs; a page for who looks at one."""
    if not request.url.path.startswith(f"{PREFIX}/"):
        if request.url.path.startswith(dashboard.ASKED):
            return dashboard.refusal(request, status, message, headers)
        return pages.refusal(request, status, message, headers)
    remedy = message.partition("; ")[2] or None
    error = {"message": message, "field": field, "remedy": remedy}
    # In ASCII: a name that was given may be half a sign, which JSON can say and UTF-8 cannot.
    return Response(json.dumps({"error": error}), status, headers, media_type="application/json")


def _refused(request: Request, error: Exception) -> Response:
    """What a NasError becomes: its line, and the option that it is about."""
    assert isinstance(error, NasError)
    # Where the database lies is for those who run the service.
    service: Service = request.app.state.service
    line = first_line(error)
    for place in service.places:
        line = line.replace(f" {place}", "")
    headers = None
    if isinstance(error, BusyError):
        headers = {"retry-after": retry_after(error)}
    elif isinstance(error, UnauthorizedError):
        headers = {"www-authenticate": "Bearer"}
    elif isinstance(error, UnavailableError):
        headers = {"retry-after": "5"}
    return _error(request, _status(error), line, _field(line), headers)


def _field(line: str) -> str | None:
    """The option that a message is about: the first that it names before it quotes what was given."""
    head = re.sub("[- ]", "_", re.split("['\"]", line)[0])
    found = {name: re.search(rf"(?<![a-z]){name}(?![a-z])", head) for name in SearchOptions.model_fields}
    places = [(place.start(), -len(name), name) for name, place in found.items() if place is not None]
    return min(places)[2] if places else None


def _status(error: NasError) -> int:
    if isinstance(error, ServiceError):
        return error.status
    if isinstance(error, UnavailableError):
        return 503
    return 422 if isinstance(error, InvalidInputError) else 409


def _misunderstood(request: Request, error: Exception) -> Response:
    """A body, a path or a query of another form than the document says."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    names = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    field = names[0] if names else None
    return _error(request, 422, _explained(first, ".".join(names) or "the body"), field)


def _explained(error: Mapping[str, Any], what: str) -> str:
    """What pydantic refuses, in the words of the command line."""
    kind = error["type"]
    if kind == "missing":
        return f"{what} is missing; give it"
    if kind == "extra_forbidden":
        return f"{what} is unknown here; leave it out, {PREFIX}/openapi.json lists what there is"
    if kind in EXPECTED:
        return f"{what} is {error['input']!r:.100}; expected {EXPECTED[kind]}"
    return f"{what}: {error['msg']}; see {PREFIX}/openapi.json for what is expected"


def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _methods(request) or headers["Allow"]
    said = f"{error.detail}; {PREFIX}/openapi.json lists what there is"
    if not request.url.path.startswith(f"{PREFIX}/"):
        said = "there is no such page; the list of studies leads to what there is"
    return _error(request, error.status_code, said, None, headers)


def _methods(request: Request) -> str:
    """All methods of an address, as the document has them: the router knows those of one function only."""
    if not request.url.path.startswith(f"{PREFIX}/"):
        return ""
    described = request.app.openapi()["paths"].get(f"{PREFIX}{request.scope['route'].path}", {})
    return ", ".join(name.upper() for name in described)


def _failed(request: Request, error: Exception) -> Response:
    """A fault of ours: the log has it, the answer says nothing of it."""
    # Nothing of ours stands around this answer any more.
    return _error(request, 500, "a fault of ours; the log of the service has the details", headers=HEADERS)
