"""The way to the first evaluation, for people: one line that is replaced on a terminal, one line after the other
elsewhere."""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable

from nas.text import printable

_CLEAR = "\r\x1b[2K"
"""To the start of the line, and nothing on it (ECMA-48)."""


class Steps:
    """What a search waits for while it starts. Output never fails the search.

    Args:
        say: prints a line that stays.
        quiet: show no steps.
    """

    def __init__(self, say: Callable[[str], None], *, quiet: bool) -> None:
        self._print = say
        self._quiet = quiet
        self._draws = not quiet and _is_terminal()
        self._shown = ""

    def show(self, text: str) -> None:
        """The next step."""
        if self._quiet:
            return
        if self._draws:
            self._write(_CLEAR + _fitting(text))
            self._shown = text
        else:
            self._print(text)

    def say(self, text: str) -> None:
        """A line that stays, above the step."""
        shown = self._shown
        self.close()
        self._print(text)
        if shown:
            self.show(shown)

    def close(self) -> None:
        """Take the step away: what follows is shown otherwise."""
        if self._shown:
            self._write(_CLEAR)
        self._shown = ""

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(text)
            sys.stdout.flush()


def _is_terminal() -> bool:
    with contextlib.suppress(ValueError, AttributeError):  # closed, or none
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return False


def _fitting(text: str) -> str:
    """One line of the terminal, which it could not take back if it were longer."""
    return printable(text, sys.stdout.encoding)[: shutil.get_terminal_size().columns - 1]
