"""Waiting for a database or a disk that cannot be used for a while (DESIGN 2.20)."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from nas.errors import NasError, UnavailableError

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
_GLANCE_S = 0.25
"""Between two looks whether the user wants to stop."""


class Backoff:
    """Calls again what failed because database or disk could not be used, with growing pauses, up to a limit.

    For the one thread that works. A call must be safe to repeat: an attempt may have been done whose answer was lost.
    """

    def __init__(self, timeout_s: float = 0.0, say: Callable[[str], None] = lambda line: None) -> None:
        """Wait as long as this, each time anew.

        Args:
            timeout_s: seconds; 0 waits for nothing.
            say: takes lines for people.
        """
        self._timeout_s = timeout_s
        self.say = say
        self.stop_requested: Callable[[], bool] = lambda: False
        """True once the user wants to stop."""
        self.check_owner: Callable[[], None] = lambda: None
        """Raises when the study belongs to another process, which may be so after an outage; asked before each further
        attempt."""

    def until_done(self, call: Callable[[], T]) -> T:
        """The result of the call.

        Raises:
            NasError: if it failed for as long as is waited; clean-up that follows is tried once and waits no more.
            KeyboardInterrupt: if the user wants to stop meanwhile.
        """
        try:
            return call()
        except UnavailableError as error:
            if not self._timeout_s:
                raise
            return self._again(call, error)

    def _again(self, call: Callable[[], T], error: UnavailableError) -> T:
        began = time.monotonic()
        self._note(f"{error}; waiting for up to {self._timeout_s:g} s, trainings go on")
        pause_s = FIRST_PAUSE_S
        while (left_s := began + self._timeout_s - time.monotonic()) > 0:
            self._rest(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                self.check_owner()
                done = call()
            except UnavailableError as latest:
                error = latest
                continue
            self._note(f"the wait is over after {time.monotonic() - began:.1f} s, the work goes on")
            return done
        waited_s = self._timeout_s
        self._timeout_s = 0.0
        raise NasError(
            f"{error}; given up after {waited_s:g} s (--storage-timeout-s), what was recorded is safe and the same "
            "command continues"
        ) from error

    def _rest(self, pause_s: float) -> None:
        until = time.monotonic() + pause_s
        while (left_s := until - time.monotonic()) > 0:
            if self.stop_requested():
                self._timeout_s = 0.0
                raise KeyboardInterrupt
            time.sleep(min(_GLANCE_S, left_s))

    def _note(self, line: str) -> None:
        logger.warning(line)
        self.say(line)


NO_WAITING = Backoff()
"""Waits for nothing."""
