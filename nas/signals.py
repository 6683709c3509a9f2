"""Ctrl-C, SIGTERM and a closed terminal end a command in order: what it began is cleaned up, and cleaning up is not cut short."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol, Self, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Closable(Protocol):
    """Something that must be closed whatever happens."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


class StopSignals:
    """Handles the signals that ask this process to stop, as a context manager in the main thread.

    A signal raises KeyboardInterrupt. Inside `deferred` the first one is only noted, for a loop that stops at its next safe point. After
    that, and once `closing` closes what it holds, the process is ending, and signals do nothing any more.
    """

    def __init__(self) -> None:
        self._deferred = False
        self._requested = False
        self._ending = False

    def __enter__(self) -> Self:
        self._former = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            # nohup ignores SIGHUP, and that is to stay.
            if number != signal.SIGHUP or self._former[number] != signal.SIG_IGN:
                signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[Callable[[], bool]]:
        """Inside, the first signal makes the function answer True; a second one interrupts."""
        self._deferred = True
        try:
            yield lambda: self._requested
        finally:
            self._ending = True

    @contextmanager
    def closing(self, thing: C) -> Iterator[C]:
        """Close `thing` at the end, undisturbed."""
        try:
            yield thing
        finally:
            self._ending = True
            thing.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._ending:
            return
        if self._deferred and not self._requested:
            self._requested = True
            return
        raise KeyboardInterrupt
