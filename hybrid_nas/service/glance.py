"""What many ask at the same moment: found once, and kept for a second at most while this process writes nothing."""

import asyncio
import threading
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from starlette.concurrency import run_in_threadpool

from db.writes import Writes

P = ParamSpec("P")
T = TypeVar("T")

KEPT_S = 1.0
"""The longest that something is kept: searches and commands write too."""
_thread = threading.local()


def once(find: Callable[[], T]) -> T:
    """What a function gives: found once in the moment that this thread works for, and anew where it works for none."""
    seen: dict[Hashable, Any] | None = getattr(_thread, "seen", None)
    if seen is None:
        return find()
    if find not in seen:
        seen[find] = find()
    return cast(T, seen[find])


def _within(seen: dict[Hashable, Any], find: Callable[[], T]) -> T:
    """What a function gives, as part of a moment of which this was seen before."""
    _thread.seen = seen
    try:
        return find()
    finally:
        del _thread.seen


class Glance:
    """What was found at this moment. Belongs to one event loop.

    Who has changed something through the service sees it at once: its own writes end the moment. Who was told an event
    sees at least what it tells: news end the moment, too.
    """

    def __init__(self, writes: Writes) -> None:
        """Nothing is known yet."""
        self._writes = writes
        self._moment: tuple[int, int] | None = None
        self._found: dict[Hashable, asyncio.Task[Any]] = {}
        self._seen: dict[Hashable, Any] = {}

    def end(self) -> None:
        """Find everything anew from now on."""
        self._moment = None

    async def get(self, find: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function gives, in a thread of its own; of several who ask the same, one calls it.

        Args:
            find: reads the database and changes nothing.
            args: of the function; they can be hashed.
            kwargs: as well.
        """
        moment = self._writes.count, int(time.monotonic() / KEPT_S)
        if moment != self._moment:
            self._moment = moment
            self._found = {}
            self._seen = {}
        key = find, args, tuple(kwargs.items())
        task = self._found.get(key)
        if task is None or (task.done() and task.exception() is not None):
            task = asyncio.create_task(run_in_threadpool(_within, self._seen, partial(find, *args, **kwargs)))
            self._found[key] = task
        return cast(T, await asyncio.shield(task))
