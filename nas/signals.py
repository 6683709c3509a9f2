"""Ctrl-C, SIGTERM and a closed terminal end a command in order: what it began is cleaned up, and cleaning up is not cut
short."""

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

    A signal raises KeyboardInterrupt. While `closing` makes its thing and inside `deferred`, the first one is only
    noted. After `deferred`, and once `closing` closes, the process is ending, and signals do nothing any more.
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
        """For a loop that stops at its next safe point: the first signal makes the function answer True; a second one
        interrupts."""
        self._deferred = True
        try:
            yield lambda: self._requested
        finally:
            self._ending = True

    @contextmanager
    def closing(self, make: Callable[[], C]) -> Iterator[C]:
        """Make something, and close it at the end, undisturbed.

        Libraries that start processes lose an exception that a signal raises in their midst, or what they have started;
        therefore a first signal interrupts when `make` is done.
        """
        self._deferred = True
        try:
            thing = make()
        finally:
            self._deferred = False
        try:
            if self._requested:
                raise KeyboardInterrupt
            yield thing
        finally:
            self._ending = True
            thing.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._ending:
            return
        noted = self._requested
        self._requested = True
        if noted or not self._deferred:
            raise KeyboardInterrupt
