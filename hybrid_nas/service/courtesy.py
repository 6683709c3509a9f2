"""The service gives way: it pauses while a candidate is timed on this host, and its threads have a low priority.

Training lets a timing in by the lock of the device (workers/latency/device_lock.py). The service does so too, but never
for long: whoever holds the lock may be slow, or stopped. Timings on a GPU are not waited for, as by the sampler.
"""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from nas.errors import InvalidInputError
from workers.devices import CPU
from workers.latency.device_lock import DeviceLock

REQUEST_S = 0.2
"""The longest pause of a request: somebody waits for the answer."""
LONGEST_S = 2.0
"""The longest pause of what nobody waits for."""
LOOK_S = 0.01
"""Between two looks at the lock, where work waits."""
NICENESS = 10
"""With 19, behind the workers of a search, an answer took seconds while others filled the cores."""

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class Courtesy:
    """Pauses of one event loop, or of one thread. Without a timing they cost microseconds."""

    def __init__(self) -> None:
        """Nothing is waited for where this host has no place for locks, because nobody can time there."""
        self._lock: DeviceLock | None = None
        with contextlib.suppress(InvalidInputError):
            self._lock = DeviceLock(CPU)
        self._line = asyncio.Lock()

    def is_due(self) -> bool:
        """Whether a candidate is being timed, or will be as soon as what computes now has ended."""
        return self._lock is not None and self._lock.is_wanted_alone()

    def pause(self) -> None:
        """Wait in this thread, LONGEST_S at most."""
        until = time.monotonic() + LONGEST_S
        while self.is_due() and time.monotonic() < until:
            time.sleep(LOOK_S)

    async def give_way(self, longest_s: float) -> None:
        """Wait in the event loop. Of all that wait here, the first looks at the lock."""
        if not self.is_due():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s), self._line:
                while self.is_due():
                    await asyncio.sleep(LOOK_S)


class GivesWay:
    """Lets every request wait before it is worked on."""

    def __init__(self, app: App, courtesy: Courtesy) -> None:
        """Stand before an application."""
        self._app = app
        self._courtesy = courtesy

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] == "http":
            await self._courtesy.give_way(REQUEST_S)
        await self._app(scope, receive, send)


def lower_priority() -> None:
    """Let this thread, and the threads that it starts from now on, compute when nobody else wants to.

    Linux has a niceness for each thread. So threads that began earlier keep theirs, and so do the processes that those
    start. Elsewhere it belongs to the process and every child would inherit it; there nothing is changed.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        niceness = max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
        with contextlib.suppress(OSError):  # a courtesy that the system does not allow
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
