"""HTTP as uvicorn speaks it, with limits on clients that it would wait for without end, and a short way for requests
that come again and again."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import h11
import uvicorn
from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from hybrid_nas.service.plain import plain_request
from hybrid_nas.service.shortcuts import SHORTCUTS, Shortcuts

ARRIVAL_S = 30.0
"""The longest that a request may take to arrive, from the connection or its first byte to the end of its body."""
READING_S = 60.0
"""The longest that a client may leave unread what was sent to it."""
GATHERED_BYTES = 2**16
"""More than that is sent at once."""
RESTING = {h11.CLIENT: h11.IDLE, h11.SERVER: h11.IDLE}
CONNECTIONS = 1_000
"""Open at a time; more are answered 503."""
TICK_S = 0.25
"""Between two looks at whether to end, and at the date; uvicorn's own ten a second cost more than they tell."""


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
    _short: asyncio.Task[None] | None = None
    """Answers a request the short way. Meanwhile h11 rests, and what comes behind it waits."""
    _behind = b""
    _is_last = False
    """Whether the answer on the short way is the last: the client has said all, or the server ends."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        super().connection_made(cast(asyncio.Transport, Gathered(transport, self.loop)))
        self._time_arrival()

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        if self._short is not None:
            self._behind += data
            self.flow.pause_reading()
            return
        scope = self._known(data)
        if scope is None:
            super().data_received(data)
            return
        self._unset_keepalive_if_required()
        self._stop_timing_arrival()
        self._short = self.loop.create_task(self._answer(scope, data))
        self._short.add_done_callback(self.tasks.discard)
        self.tasks.add(self._short)

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

    def shutdown(self) -> None:
        """Answer what was asked, and nothing more."""
        if self._short is not None:
            self._is_last = True
        else:
            super().shutdown()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that has said all and may still read; a stream ends, as its reader has most likely left."""
        if self._short is not None:
            self._is_last = True
            return True
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

    def _known(self, data: bytes) -> Scope | None:
        """What bytes ask, where that is one request whose address and caller are known; None for all others."""
        shortcuts: Shortcuts | None = self.app_state.get(SHORTCUTS)
        is_resting = self.conn.states == RESTING and not self.conn.trailing_data[0]
        is_crowded = max(len(self.connections), len(self.tasks)) >= CONNECTIONS
        if shortcuts is None or not is_resting or is_crowded or self.flow.write_paused:
            return None
        asked = plain_request(data)
        if asked is None:
            return None
        scope = {"path": asked.path, "query_string": asked.query, "headers": asked.headers, "client": self.client}
        return scope if shortcuts.knows(scope) else None

    async def _answer(self, scope: Scope, data: bytes) -> None:
        """Answer a request that came as these bytes; h11 and the application do where the short way leads nowhere."""
        shortcuts: Shortcuts = self.app_state[SHORTCUTS]
        response = await shortcuts.response(scope)
        behind = self._behind
        self._behind = b""
        self._short = None
        if self.transport.is_closing():
            return
        if response is None:
            super().data_received(data + behind)
        else:
            self._send(response)
            self.on_response_complete()
            self._time_arrival()
        if self._is_last:
            self.eof_received()
        elif response is not None and behind:
            self.data_received(behind)

    def _send(self, response: Response) -> None:
        head = b"HTTP/1.1 %d %b\r\n" % (response.status_code, STATUS_PHRASES[response.status_code])
        closes = [CLOSE_HEADER] if self._is_last else []
        for header in (*self.server_state.default_headers, *response.raw_headers, *closes):
            head += b"%b: %b\r\n" % header
        self.transport.write(b"%b\r\n%b" % (head, bytes(response.body)))

    def _time_arrival(self) -> None:
        is_arriving = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        if is_arriving and self._arrival is None:
            self._arrival = self.loop.call_later(ARRIVAL_S, self.transport.abort)
        elif not is_arriving:
            self._stop_timing_arrival()

    def _stop_timing_arrival(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None


class Server(uvicorn.Server):
    """One that seldom looks around while nobody asks."""

    async def main_loop(self) -> None:
        """Wait for the end, and keep the date."""
        while not await self.on_tick(0):
            await asyncio.sleep(TICK_S)


def server_of(app: FastAPI, proxies: Sequence[str] = ()) -> Server:
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
    return Server(config)
