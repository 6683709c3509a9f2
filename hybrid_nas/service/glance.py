"""What many ask at the same moment: found once, and not again while nothing is written to the database."""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar, cast

from starlette.concurrency import run_in_threadpool

from db.pulse import Pulse

P = ParamSpec("P")
T = TypeVar("T")

KEPT_S = 1.0
"""The longest that something is kept: some of it also rests on the clock, or on what a search says of its workers."""


class Glance:
    """What was found at this moment of the database. Belongs to one event loop; another database is always asked."""

    def __init__(self, pulse: Pulse) -> None:
        """Nothing is known yet."""
        self._pulse = pulse
        self._moment: tuple[int, int] | None = None
        self._found: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, find: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function gives, in a thread of its own; of several who ask the same, one calls it.

        Args:
            find: reads the database and changes nothing.
            args: of the function; they can be hashed.
            kwargs: as well.
        """
        version = self._pulse.version()
        if version is None:
            return await run_in_threadpool(find, *args, **kwargs)
        moment = version, int(time.monotonic() / KEPT_S)
        if moment != self._moment:
            self._moment, self._found = moment, {}
        key = find, args, tuple(kwargs.items())
        task = self._found.get(key)
        if task is None or (task.done() and task.exception() is not None):
            task = asyncio.create_task(run_in_threadpool(find, *args, **kwargs))
            self._found[key] = task
        return cast(T, await asyncio.shield(task))
