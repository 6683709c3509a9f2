"""HTTP as uvicorn speaks it, with limits on clients that it would wait for without end."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

ARRIVAL_S = 30.0
"""The longest that a request may take to arrive, from the connection or its first byte to the end of its body."""
READING_S = 60.0
"""The longest that a client may leave unread what was sent to it."""
GATHERED_BYTES = 2**16
"""More than that is sent at once."""
CONNECTIONS = 1_000
"""Open at a time; more are answered 503."""


class Gathered:
    """A transport that sends in one piece what is written in one turn of the loop: head and body of an answer.

    Each piece is a call of the system, and wakes its reader.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Write to a transport, which does everything else itself."""
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, with all that is written before the loop goes on."""
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)
        self._size += len(data)
        if self._size > GATHERED_BYTES:  # whoever writes on is told to wait by the transport alone
            self._send()

    def close(self) -> None:
        """Send what was written, then close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._size and not self._transport.is_closing():
            self._transport.writelines(self._parts)
        self._parts = []
        self._size = 0


class Protocol(H11Protocol):
    """One connection, which is cut when its client keeps it waiting."""

    _arrival: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        super().connection_made(cast(asyncio.Transport, Gathered(transport, self.loop)))
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

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that has said all and may still read; a stream ends, as its reader has most likely left."""
        is_asked = self.cycle is not None and self.conn.their_state is h11.DONE
        is_to_be_answered = is_asked and not self.cycle.response_started
        if is_to_be_answered:
            self.cycle.keep_alive = False
        else:
            self.transport.close()
        return is_to_be_answered

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
