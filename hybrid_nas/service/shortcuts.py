"""The short way to answers that many ask for: what an address calls is read once, and then remembered.

To find a route, read its parameters and solve its dependencies takes FastAPI longer than all the rest of an answer that
is kept. An address means the same call at every time, so only who asks has to be looked at again.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn, ParamSpec, TypeVar

from fastapi import Request, Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from hybrid_nas.service.glance import Glance
from hybrid_nas.service.kept import Answer, sent
from nas.errors import NasError

K = TypeVar("K")
P = ParamSpec("P")
V = TypeVar("V")
KEPT = 1_000
"""Addresses, and callers, that are known at a time."""
LONGEST_ADDRESS = 1_000
"""Longer ones are read anew, so that what is kept stays small."""

Address = tuple[str, bytes]
"""Path and query of a request, as they came."""
Call = Callable[[], Awaitable[Answer]]


class Shortcuts(BaseRoute):
    """A route before all others, of addresses that were asked before by callers who were admitted before.

    Others are refused by the route that FastAPI finds: how long it takes must not tell them what was asked here.
    Belongs to one event loop.
    """

    def __init__(self, glance: Glance, admit: Callable[[Request], Awaitable[object]]) -> None:
        """No address is known yet.

        Args:
            glance: finds the answers.
            admit: looks at who asks, and raises where they may not.
        """
        self._glance = glance
        self._admit = admit
        self._calls: OrderedDict[Address, Call] = OrderedDict()
        self._callers: OrderedDict[int, bool] = OrderedDict()

    async def answer(self, request: Request, find: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Response:
        """The answer to a request whose caller was admitted; both are known from now on.

        Args:
            request: a GET, whose answer depends on nothing but the address.
            find: as Glance.get takes it.
            args: of the function; they can be hashed.
            kwargs: as well.
        """
        call: Call = partial(self._glance.get, find, *args, **kwargs)
        response = sent(request, await call())
        address = _address(request.scope)
        if len(address[0]) + len(address[1]) <= LONGEST_ADDRESS:
            _keep(self._calls, address, call)
            _keep(self._callers, _caller(request.scope), True)
        return response

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether caller and address of a GET are known."""
        is_get = scope["type"] == "http" and scope["method"] == "GET"
        is_known = is_get and _caller(scope) in self._callers and _address(scope) in self._calls
        return (Match.FULL if is_known else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the route of the address does."""
        request = Request(scope, receive)
        call = self._calls[_address(scope)]
        self._calls.move_to_end(_address(scope))
        try:
            await self._admit(request)
        except NasError:
            self._callers.pop(_caller(scope), None)
            raise
        response = sent(request, await call())
        await response(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> NoReturn:
        """Nothing: no address is made from here."""
        raise NoMatchFound(name, path_params)


def _address(scope: Scope) -> Address:
    return scope["path"], scope["query_string"]


def _caller(scope: Scope) -> int:
    """What a request says of who asks, as a hash: no secret is kept, and who is taken for another is refused later."""
    return hash(tuple(value for name, value in scope["headers"] if name in (b"authorization", b"cookie")))


def _keep(known: OrderedDict[K, V], key: K, value: V) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > KEPT:
        known.popitem(last=False)


async def answered(request: Request, find: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Response:
    """As Shortcuts.answer, by those of the application."""
    shortcuts: Shortcuts = request.app.state.shortcuts
    return await shortcuts.answer(request, find, *args, **kwargs)
