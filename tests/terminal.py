"""Commands on a terminal of their own, and what a person would see there."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

ROWS, COLUMNS = 50, 120
_ERASED = re.compile(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*")
"""How rich takes back what it has drawn, from the last line up."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PACE = re.compile(r"(\d+/\d+ \(\d+%\)); .*")


class Terminal:
    """A process that has a terminal for all its streams; what it prints is kept."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        """Start it."""
        self._main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        given = {**environment, "TERM": "xterm-256color", "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(command, cwd=folder, env=given, stdin=side, stdout=side, stderr=side)
        os.close(side)
        self._content = bytearray()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @property
    def output(self) -> str:
        """Everything that was printed so far, as it was."""
        return self._content.decode(errors="replace")

    def wait(self, timeout_s: float = 60.0) -> int:
        """Its exit code; it is killed where it does not end in time."""
        try:
            return self.process.wait(timeout_s)
        finally:
            self.process.kill()
            self._thread.join()
            os.close(self._main)

    def _read(self) -> None:
        try:
            while content := os.read(self._main, 65_536):
                self._content += content
        except OSError:  # how Linux says that nobody holds the other side any more
            return


def frames(output: str, study: str) -> list[list[str]]:
    """Every display of a search that was drawn: study, bar, summary, front and workers; without rate and time left.

    Args:
        output: of the terminal.
        study: which begins a display.
    """
    found = []
    for drawn in _ERASED.split(output):
        lines = [line.rstrip() for line in _CONTROL.sub("", drawn).replace("\r", "").split("\n")]
        begins = [number for number, line in enumerate(lines) if re.match(rf"{re.escape(study)} +\d+/\d+ \(", line)]
        if begins:
            found.append([_PACE.sub(r"\1", line) for line in lines[begins[0] :] if line])
    return found
