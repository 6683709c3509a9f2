"""The short way to answers that many ask for: what an address calls is read once, and then remembered.

To read a request, find its route, read its parameters and solve its dependencies takes h11, Starlette and FastAPI
longer than all the rest of an answer that is kept. An address means the same call at every time, so only who asks has
to be looked at again. The protocol asks here before it asks the application (wire.py).
"""

import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ParamSpec, TypeVar

from fastapi import Request, Response
from starlette.types import Scope

from hybrid_nas.service.courtesy import REQUEST_S, Courtesy
from hybrid_nas.service.glance import Glance
from hybrid_nas.service.headers import with_all
from hybrid_nas.service.kept import Answer, sent

K = TypeVar("K")
P = ParamSpec("P")
V = TypeVar("V")
SHORTCUTS = "shortcuts"
"""Where they stand in the state that the application gives to the protocol."""
KEPT = 1_000
"""Addresses, and callers, that are known at a time."""
LONGEST_ADDRESS = 1_000
"""Longer ones are read anew, so that what is kept stays small."""

Address = tuple[str, bytes]
"""Path and query of a request, as they came."""
Call = Callable[[], Awaitable[Answer]]


class Shortcuts:
    """Addresses that were asked before, for callers who were admitted before. Belongs to one event loop.

    Others are refused by the application: how long it takes must not tell them what was asked here.
    """

    def __init__(self, glance: Glance, admit: Callable[[Request], Awaitable[object]], courtesy: Courtesy) -> None:
        """No address is known yet.

        Args:
            glance: finds the answers.
            admit: looks at who asks, and raises where they may not; the application looks again then.
            courtesy: every answer gives way, as those of the application.
        """
        self._glance = glance
        self._admit = admit
        self._courtesy = courtesy
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

    def knows(self, scope: Scope) -> bool:
        """Whether caller and address of a GET are known."""
        return _caller(scope) in self._callers and _address(scope) in self._calls

    async def response(self, scope: Scope) -> Response | None:
        """What the application answers to a GET that is known here; None where only it can say.

        Args:
            scope: of the request: path, query, headers and client.
        """
        address = _address(scope)
        call = self._calls.get(address)
        if call is None:  # forgotten since it was looked for
            return None
        self._calls.move_to_end(address)
        request = Request({"type": "http", "method": "GET", **scope})
        is_admitted = False
        with contextlib.suppress(Exception):  # whatever it is, the application meets and tells it
            await self._courtesy.give_way(REQUEST_S)
            await self._admit(request)
            is_admitted = True
            response = sent(request, await call())
            response.raw_headers = with_all(response.raw_headers)
            return response
        if is_admitted:
            self._calls.pop(address, None)
        else:
            self._callers.pop(_caller(scope), None)
        return None


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
