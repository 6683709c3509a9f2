"""Who a request comes from: a token in its header, or the session of a browser.

Tokens are neither logged nor repeated in an answer. Every failed attempt counts against the address it came from.
"""

import hashlib
import hmac
import math
import threading
import time
from collections import OrderedDict
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from db.tokens import Token
from hybrid_nas.service.callers import LOCAL, Caller
from hybrid_nas.service.core import Service
from hybrid_nas.service.errors import BusyError, ForbiddenError, UnauthorizedError
from nas.hosts import names_this_machine

COOKIE = "nas_session"
CSRF_HEADER = "x-csrf-token"
SAFE = ("GET", "HEAD", "OPTIONS")
FAILURES_PER_S = 0.2
"""Wrong tokens that an address may try for long; ten in a burst."""
FAILURES = 10
BURST = 4
"""Requests in a burst, in those of a second."""
KEPT_BUCKETS = 10_000
FORWARDED = ("forwarded", "x-forwarded-for")
"""Headers that only a proxy adds: who asks is then not on this machine."""


BEARER = HTTPBearer(auto_error=False, description="What `launch.py token add` prints.")
"""For the document only: sessions, and a service without tokens, have no such header."""


class Buckets:
    """Rate limits by name: a bucket holds so many requests, and fills at a rate."""

    def __init__(self, per_s: float, size: float) -> None:
        """All are full at the beginning."""
        self._per_s = per_s
        self._size = size
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str, count: float = 1.0) -> float:
        """Take from a bucket.

        Returns:
            0 where there was enough; else the seconds after which there will be, and nothing is taken.
        """
        now = time.monotonic()
        with self._lock:
            left, since = self._left.pop(name, (self._size, now))
            left = min(self._size, left + (now - since) * self._per_s)
            is_enough = left >= count
            self._left[name] = (left - count if is_enough else left, now)
            if len(self._left) > KEPT_BUCKETS:
                self._left.popitem(last=False)
        return 0.0 if is_enough else (count - left) / self._per_s


class Door:
    """Looks at every request of a service."""

    def __init__(self, service: Service) -> None:
        """Nobody has asked yet."""
        self._service = service
        self._requests = Buckets(service.settings.requests_per_s, BURST * service.settings.requests_per_s)
        self._failures = Buckets(FAILURES_PER_S, FAILURES)
        self._has_tokens = False

    async def caller(self, request: Request, *, is_tried: bool = True) -> Caller:
        """Who asks.

        Args:
            request: what came.
            is_tried: whether a wrong token counts against the address that it came from.

        Raises:
            UnauthorizedError: if there are tokens, and the request has none that is valid.
            ForbiddenError: if a page of another site sent it.
            BusyError: if the token, or wrong ones from this address, are used too often.
        """
        token = await self.token(request, is_tried=is_tried)
        self._count(LOCAL.name if token is None else str(token.id))
        return LOCAL if token is None else Caller(token.name, token.role)

    async def has_tokens(self) -> bool:
        """Whether a token was ever made."""
        self._has_tokens = self._has_tokens or await self._service.glance.get(self._service.tokens.any)
        return self._has_tokens

    def login(self, request: Request, secret: str) -> str:
        """The secret of a new session for a token.

        Raises:
            UnauthorizedError: if the token is not valid.
            BusyError: if the token, or wrong ones from this address, are used too often.
        """
        token = self._valid(request, self._service.tokens.find(secret))
        self._count(str(token.id))
        return self._service.tokens.begin_session(token)

    async def token(self, request: Request, *, is_tried: bool = True) -> Token | None:
        """The token behind a request, which is not counted; None on this machine while no token was ever made.

        Args:
            request: what came.
            is_tried: as caller takes it.

        Raises:
            UnauthorizedError: if there are tokens, and the request has none that is valid.
            ForbiddenError: if a page of another site sent it.
            BusyError: if wrong ones came too often from this address.
        """
        if not await self.has_tokens():
            require_this_machine(request)
            return None
        glance = self._service.glance
        tokens = self._service.tokens
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secret.strip():
            return self._valid(request, await glance.get(tokens.find, secret.strip()), is_tried)
        session = request.cookies.get(COOKIE)
        if session:
            token = self._valid(request, await glance.get(tokens.find_session, session), is_tried)
            if request.method not in SAFE:
                check_csrf(request, request.headers.get(CSRF_HEADER, ""))
            return token
        raise UnauthorizedError("this service needs a token; send it as Authorization: Bearer TOKEN (NAS_TOKEN)")

    def _valid(self, request: Request, token: Token | None, is_tried: bool = True) -> Token:
        if token is not None:
            return token
        address = "unknown" if request.client is None else request.client.host
        wait_s = self._failures.take(address) if is_tried else 0.0
        if wait_s:
            raise BusyError("too many wrong tokens came from this address; wait, then try the right one", wait_s)
        raise UnauthorizedError("this token is not valid; ask an administrator for another (launch.py token add)")

    def _count(self, name: str) -> None:
        wait_s = self._requests.take(name)
        if wait_s:
            raise BusyError("too many requests with this token; wait a little between two", wait_s)


def require_this_machine(request: Request) -> None:
    """Refuse what a page of another site sends to a service without tokens, by a name that leads here.

    Raises:
        ForbiddenError: if host or origin are not of this machine.
    """
    if any(name in request.headers for name in FORWARDED):
        raise ForbiddenError(
            "this came through a proxy, and there are no tokens yet; make one: launch.py token add NAME"
        )
    origin = request.headers.get("origin")
    if not names_this_machine(request.headers.get("host", "")):
        raise ForbiddenError("without tokens this service answers on this machine only; ask for it as 127.0.0.1")
    if origin is not None and not names_this_machine(origin.partition("://")[2]):
        raise ForbiddenError("a page of another site has sent this; without tokens only own pages may ask")


def require_own_page(request: Request) -> None:
    """Refuse what a browser sends for a page of another site.

    Source: Go's http.CrossOriginProtection; programs send neither of both headers.

    Raises:
        ForbiddenError: if such a page sent it.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    is_own = site in ("same-origin", "none")
    if site is None:
        is_own = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if not is_own:
        raise ForbiddenError("a page of another site has sent this; open this service itself, and repeat")


def csrf_token(request: Request) -> str:
    """What the forms of a session carry: nobody who cannot read the cookie can make it."""
    session = request.cookies.get(COOKIE, "")
    return hmac.new(session.encode(errors="replace"), b"csrf", hashlib.sha256).hexdigest()


def check_csrf(request: Request, given: str) -> None:
    """Refuse a form of another site.

    Raises:
        ForbiddenError: if another site sent it, or it does not carry the session's own text.
    """
    require_own_page(request)
    if not hmac.compare_digest(given.encode(errors="replace"), csrf_token(request).encode()):
        raise ForbiddenError("the form is not of this session; load the page again and repeat")


async def service_of(request: Request) -> Service:
    """The service that the application is for. Nothing to wait for, so no thread is asked for it."""
    service: Service = request.app.state.service
    return service


def door_of(request: Request) -> Door:
    """What every request of the application passes."""
    door: Door = request.app.state.door
    return door


async def current_caller(request: Request, _: Annotated[object, Security(BEARER)]) -> Caller:
    """Who asks; raises as Door.caller."""
    return await door_of(request).caller(request)


def retry_after(error: BusyError) -> str:
    """Whole seconds for the header."""
    return str(max(1, math.ceil(error.retry_after_s)))


CurrentService = Annotated[Service, Depends(service_of)]
CurrentCaller = Annotated[Caller, Depends(current_caller)]
