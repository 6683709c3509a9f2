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
from typing import Any

import click

from hybrid_nas.streams import tell
from nas.errors import NasError
from nas.text import duration_text

ENTRY_POINTS = "hybrid_nas.commands"
_PLACES = {
    "bundle": "bundling:bundle",
    "fetch": "asking:fetch",
    "list": "asking:list_studies",
    "serve": "service.commands:serve",
    "stop": "asking:stop",
    "submit": "asking:submit",
    "token": "service.commands:token",
    "watch": "asking:watch",
}
OURS = {name: EntryPoint(name, f"hybrid_nas.{place}", ENTRY_POINTS) for name, place in _PLACES.items()}
"""Commands of this project that a search has nothing to do with, loaded like those of other packages."""
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

    def list_commands(self, context: click.Context) -> list[str]:
        """Ours."""
        return sorted([*super().list_commands(context), *OURS])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Ours first; another one is loaded here."""
        if name in OURS:
            return load(OURS[name])
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
def counting() -> Iterator[None]:
    """Show how far the work on data is: a bar on a terminal, elsewhere a line now and then."""
    from workers.data.source import showing

    counter = _Counter()
    with contextlib.closing(counter), showing(counter.show):
        yield


class _Counter:
    """A line or a bar for one kind of work after the other. Output cannot fail the work."""

    def __init__(self) -> None:
        self._what = ""
        self._done = 0
        self._begun = 0
        self._begun_at = 0.0
        self._shown_at = 0.0
        self._bar: Any = None

    def show(self, what: str, done: int, total: int, unit: str) -> None:
        """See workers.data.source.Show."""
        with contextlib.suppress(OSError):
            if what != self._what or done < self._done:
                self._begin(what, done)
            self._done = done
            if total and sys.stderr.isatty():
                self._move_bar(done, total, unit)
            elif time.monotonic() - self._shown_at >= LINE_S:
                self._shown_at = time.monotonic()
                tell(f"{what}: {self._text(done, total, unit)}", err=True)

    def _begin(self, what: str, done: int) -> None:
        self.close()
        self._what = what
        self._begun = done
        self._begun_at = time.monotonic()
        self._shown_at = self._begun_at

    def _text(self, done: int, total: int, unit: str) -> str:
        """How much is done, how fast, and how long the rest takes."""
        rate = self._rate(done)
        fast = f", {rate:,.0f} a second" if rate else ""
        if not total:
            return f"{done:,} {unit} so far{fast}"
        left = f", {duration_text((total - done) / rate)} left" if rate and done < total else ""
        return f"{done:,} of {total:,} {unit}{fast}{left}"

    def _rate(self, done: int) -> float:
        return (done - self._begun) / max(1e-3, time.monotonic() - self._begun_at)

    def _move_bar(self, done: int, total: int, unit: str) -> None:
        if self._bar is None:
            bar = click.progressbar(
                length=total,
                label=self._what,
                show_percent=True,
                show_pos=True,
                item_show_func=lambda text: text,
                file=sys.stderr,
            )
            self._bar = bar.__enter__()
        self._bar.update(done - self._bar.pos, f"{self._rate(done):,.0f} {unit}/s")
        if done >= total:
            self.close()

    def close(self) -> None:
        """End the line of a bar."""
        bar = self._bar
        self._bar = None
        if bar is not None:
            bar.__exit__(None, None, None)
