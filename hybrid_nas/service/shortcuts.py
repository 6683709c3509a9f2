"""The short way to answers that many ask for: what an address calls is read once, and then remembered.

To find a route, read its parameters and solve its dependencies takes FastAPI longer than all the rest of an answer that
is kept. An address means the same call at every time, so only who asks has to be looked at again.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ParamSpec

from fastapi import Request, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from hybrid_nas.service.glance import Glance
from hybrid_nas.service.kept import Answer, sent

P = ParamSpec("P")
KEPT_ADDRESSES = 1_000
LONGEST_ADDRESS = 1_000
"""Longer ones are read anew, so that what is kept stays small."""

Address = tuple[str, bytes]
"""Path and query of a request, as they came."""


class Shortcuts(BaseRoute):
    """A route before all others, of the addresses that were asked before. Belongs to one event loop."""

    def __init__(self, glance: Glance, admit: Callable[[Request], Awaitable[object]]) -> None:
        """No address is known yet.

        Args:
            glance: finds the answers.
            admit: looks at who asks, and raises where they may not.
        """
        self._glance = glance
        self._admit = admit
        self._calls: OrderedDict[Address, Callable[[], Awaitable[Answer]]] = OrderedDict()

    async def answer(self, request: Request, find: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Response:
        """The answer to a request whose caller was admitted; its address is known from now on.

        Args:
            request: a GET, whose answer depends on nothing but the address.
            find: as Glance.get takes it.
            args: of the function; they can be hashed.
            kwargs: as well.
        """
        call = partial(self._glance.get, find, *args, **kwargs)
        response = sent(request, await call())
        address = _address(request.scope)
        if len(address[0]) + len(address[1]) <= LONGEST_ADDRESS:
            self._calls[address] = call
            if len(self._calls) > KEPT_ADDRESSES:
                self._calls.popitem(last=False)
        return response

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the address of a GET is known."""
        is_known = scope["type"] == "http" and scope["method"] == "GET" and _address(scope) in self._calls
        return (Match.FULL if is_known else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the route of the address does."""
        request = Request(scope, receive)
        address = _address(scope)
        call = self._calls[address]
        self._calls.move_to_end(address)
        await self._admit(request)
        response = sent(request, await call())
        await response(scope, receive, send)


def _address(scope: Scope) -> Address:
    return scope["path"], scope["query_string"]


async def answered(request: Request, find: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Response:
    """As Shortcuts.answer, by those of the application."""
    shortcuts: Shortcuts = request.app.state.shortcuts
    return await shortcuts.answer(request, find, *args, **kwargs)
