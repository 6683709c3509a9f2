"""HTTP as uvicorn speaks it, with limits on clients that it would wait for without end."""

import asyncio
from collections.abc import Sequence

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

ARRIVAL_S = 30.0
"""The longest that a request may take to arrive, from the connection or its first byte to the end of its body."""
READING_S = 60.0
"""The longest that a client may leave unread what was sent to it."""
CONNECTIONS = 1_000
"""Open at a time; more are answered 503."""


class Protocol(H11Protocol):
    """One connection, which is cut when its client keeps it waiting."""

    _arrival: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        super().connection_made(transport)
        self._time_arrival()

    def handle_events(self) -> None:
        """Take in what came."""
        super().handle_events()
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
        is_arriving = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
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
