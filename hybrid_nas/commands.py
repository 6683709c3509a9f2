"""What command lines are made of: a group to which other packages add commands by name, and a display that counts.

A package registers a click command, or a group of them, under the entry point group ENTRY_POINTS:

    [project.entry-points."hybrid_nas.commands"]
    zoo = "my_package.commands:zoo"

It is loaded when it is used, so it costs a search nothing.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import click

from hybrid_nas.streams import tell
from nas.errors import NasError

ENTRY_POINTS = "hybrid_nas.commands"
LINE_S = 10.0
"""Between two lines of a command that counts, where there is no terminal."""


class UserPath(click.ParamType[Path]):
    """A path that a user gives, as nas.files reads it."""

    def __init__(self, name: str, read: Callable[[str | Path], Path]) -> None:
        """What the help calls it, and one of the functions of nas.files."""
        self.name = name
        self._read = read

    def convert(self, value: str | Path, param: click.Parameter | None, context: click.Context | None) -> Path:
        """The absolute path; raises InvalidInputError."""
        return self._read(value)


class Commands(click.Group):
    """Our commands, and those that other packages register by name."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Ours first; another one is loaded here."""
        for entry in () if name in self.commands else registered():
            if entry.name == name:
                return load(entry)
        return super().get_command(context, name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List those of other packages by name, without loading them."""
        super().format_commands(context, formatter)
        others = [(entry.name, f"registered by {entry.module}") for entry in registered()]
        if others:
            with formatter.section("Commands of other packages"):
                formatter.write_dl(others)


def registered() -> list[EntryPoint]:
    """What other packages add, by name."""
    return sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)


def load(entry: EntryPoint) -> click.Command:
    """Import a command of another package.

    Raises:
        NasError: if that fails, or gives no command.
    """
    try:
        command = entry.load()
    except Exception as error:
        raise NasError(
            f"the command {entry.name!r} cannot be loaded from {entry.value}: {error}; mend or remove that package"
        ) from error
    if not isinstance(command, click.Command):
        raise NasError(f"{entry.value} is registered as the command {entry.name!r}; expected a click command")
    return command


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Takes the number of images done and of all: a bar on a terminal, elsewhere a line now and then. Output cannot
    fail the work."""
    shown_at = time.monotonic()
    bar = None
    with contextlib.ExitStack() as stack:

        def show(done: int, total: int) -> None:
            nonlocal shown_at, bar
            with contextlib.suppress(OSError):
                if sys.stderr.isatty():
                    bar = bar or stack.enter_context(click.progressbar(length=total, label=what, file=sys.stderr))
                    bar.update(done - bar.pos)
                elif time.monotonic() - shown_at >= LINE_S:
                    shown_at = time.monotonic()
                    tell(f"{what}: {done:,} of {total:,} images", err=True)

        yield show
