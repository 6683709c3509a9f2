"""A process of the service that outlives it: whoever comes next finds it running, or how it ended.

A child holds an advisory lock on a file of its own as long as it lives. The kernel gives the lock up with the process,
so that neither a kill nor a number that is used again can deceive. A shell stands above the child: it writes the
child's number before and its exit code after, and holds the lock until both are written. It belongs to nobody, so that
nobody has to wait for it.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SHELL = 'lock=$1 end=$2; shift 2; ("$@" </dev/null & echo $! >"$lock"; wait $!; echo $? >"$end") &'
_TAIL_BYTES = 65_536
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What moves a cursor or colours a line."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process, by the name of its files."""

    folder: Path
    key: str

    @property
    def output(self) -> Path:
        """What all its processes print, one after the other."""
        return self.folder / f"{self.key}.out"

    @property
    def activity_file(self) -> Path:
        """Where a search says what its workers do."""
        return self.folder / f"{self.key}.now"

    @property
    def _lock(self) -> Path:
        return self.folder / f"{self.key}.lock"

    @property
    def _end(self) -> Path:
        return self.folder / f"{self.key}.end"

    def prepare(self) -> None:
        """Forget how the process before ended. Comes before anything says that another one runs."""
        self._end.unlink(missing_ok=True)
        self.activity_file.unlink(missing_ok=True)

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Start it, detached from this process.

        Args:
            command: program and arguments; no secret, as everybody on the machine sees them.
            environment: all of its variables.

        Returns:
            False where it runs already; nothing is started then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(self._lock)
        if lock is None:
            return False
        try:
            os.ftruncate(lock, 0)
            with self.output.open("ab") as output:
                subprocess.run(
                    ["/bin/sh", "-c", _SHELL, "sh", str(self._lock), str(self._end), *command],
                    env=dict(environment),
                    cwd=self.folder,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[lock],
                    start_new_session=True,  # Ctrl-C is for the service
                    check=True,
                )
        finally:
            os.close(lock)
        return True

    def is_running(self) -> bool:
        """Whether the process lives, whoever started it."""
        if not self._lock.exists():
            return False
        lock = _locked(self._lock)
        if lock is None:
            return True
        os.close(lock)
        return False

    def stop(self) -> bool:
        """Ask it to end in order, by SIGTERM.

        Returns:
            False where it has not written its number yet.
        """
        try:
            os.kill(int(self._lock.read_text()), signal.SIGTERM)
        except (OSError, ValueError):
            return False
        return True

    def exit_code(self) -> int | None:
        """How a process that runs no more ended; None where nobody could write it down."""
        try:
            return int(self._end.read_text())
        except (OSError, ValueError):
            return None

    def activities(self) -> dict[str, str]:
        """What each worker of a search does, by its name; empty where nothing was said."""
        try:
            found: dict[str, str] = json.loads(self.activity_file.read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def activities_since(self) -> int:
        """When that was said, in milliseconds of the clock of files; 0 where nothing was."""
        try:
            return self.activity_file.stat().st_mtime_ns // 1_000_000
        except OSError:
            return 0

    def last_lines(self, count: int) -> list[str]:
        """The end of what it printed."""
        return last_lines(self.output, count)

    def size(self) -> int:
        """Bytes that it has printed."""
        return self.output.stat().st_size if self.output.exists() else 0

    def lines_after(self, position: int) -> list[tuple[str, int]]:
        """Whole lines behind a position in bytes, each with the position behind it."""
        try:
            with self.output.open("rb") as file:
                file.seek(position)
                content = file.read(_TAIL_BYTES)
        except OSError:
            return []
        found = []
        for line in content.splitlines(keepends=True):
            if line.endswith(b"\n"):
                position += len(line)
                found.append((plain(line).strip(), position))
        return found

    def forget(self) -> None:
        """Remove its files."""
        for file in (self.output, self.activity_file, self._lock, self._end):
            file.unlink(missing_ok=True)


def last_lines(path: Path, count: int) -> list[str]:
    """The end of a file that a process writes; nothing where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = plain(file.read()).splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip()][-count:]


def plain(output: bytes) -> str:
    """What a process printed, without what steers a terminal."""
    text = _CONTROL.sub("", output.decode(errors="replace"))
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock of a file; None where another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
