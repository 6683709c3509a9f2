"""HTTP as uvicorn speaks it, with limits on clients that it would wait for without end."""

import asyncio
from collections.abc import Sequence

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ARRIVAL_S = 30.0
"""The longest that a request may take to arrive, from the connection or its first byte to the end of its body."""
READING_S = 60.0
"""The longest that a client may leave unread what was sent to it."""
HEAD_BYTES = 2**16
"""The most bytes of a request that may come without a part of its body: the parser keeps what has no end."""
AHEAD = 16
"""The most requests that one client may send before the first of them is answered."""
CONNECTIONS = 1_000
"""Open at a time; more are answered 503."""


class Protocol(HttpToolsProtocol):
    """One connection, which is cut when its client keeps it waiting."""

    _arrival: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _is_whole = False
    """Whether nothing of the last request is missing."""
    _since_part = 0
    """Bytes that came since the last part that was understood."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        super().connection_made(transport)
        self._time_arrival()

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        self._since_part += len(data)
        super().data_received(data)
        if self._since_part > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request may have {HEAD_BYTES:,} bytes.")
        self._time_arrival()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._is_whole = False

    def on_headers_complete(self) -> None:
        """The body follows, if there is one.

        Raises:
            ValueError: if too many requests wait; the parser then refuses all that follows.
        """
        if len(self.pipeline) >= AHEAD:
            raise ValueError("too many requests at once")
        super().on_headers_complete()
        self._since_part = 0

    def on_body(self, body: bytes) -> None:
        """A part of it."""
        super().on_body(body)
        self._since_part = 0

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        self._since_part = 0
        self._is_whole = True

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._time_arrival()

    def pause_writing(self) -> None:
        """Send no more until the client has read."""
        super().pause_writing()
        self._reading = self.loop.call_later(READING_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Send again."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        for timer in (self._arrival, self._reading):
            if timer is not None:
                timer.cancel()

    def _time_arrival(self) -> None:
        is_arriving = not self._is_whole or self.cycle.response_complete
        if is_arriving and self._arrival is None:
            self._arrival = self.loop.call_later(ARRIVAL_S, self.transport.abort)
        elif not is_arriving and self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None


def server_of(app: FastAPI, proxies: Sequence[str] = ()) -> uvicorn.Server:
    """The server of an application; it logs no request, as an address may hold what is nobody else's.

    Args:
        app: the application.
        proxies: addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed.
    """
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)
