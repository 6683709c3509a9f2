"""What a person sees while a search runs: a live display on a terminal, plain lines anywhere else."""

import contextlib
import io
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nas.files import write_whole
from nas.records import FrontMember
from nas.text import cost_axis, cost_text, duration_text, printable

REFRESH_S = 0.5
"""On a terminal: one drawing takes some milliseconds, so at most two a second."""
LINE_S = 10.0
LINE_SHARE = 0.05
"""Elsewhere: a line after this many seconds or this share of the budget, whichever is first, if anything was
evaluated."""
SILENCE_S = 300.0
"""Elsewhere: a line after this long even when nothing was evaluated."""
FRONT_ROWS = 10
ACTIVITY_VARIABLE = "NAS_ACTIVITY_FILE"
"""Environment variable with the file that says what the workers do: set by the service for its searches."""
ACTIVITY_S = 1.0
"""Between two writings of that file."""


class Progress:
    """Display of one run of a search; used by one thread, as a context manager.

    Output never fails the search: when the terminal or the pipe is gone, the display falls silent.
    Rate and time left count the evaluations of this run only, by the monotonic clock, from `plan` on.
    """

    def __init__(
        self,
        study: str,
        budget: int,
        already: int,
        quiet: bool,
        console: Console | None = None,
        *,
        silent: bool = False,
        cost_objective: str = "latency_ms",
        activity_file: Path | None = None,
    ) -> None:
        """Display a run.

        Args:
            study: name of the study.
            budget: architectures to evaluate in the study.
            already: how many of them earlier runs evaluated.
            quiet: print the final lines only.
            console: where to print; standard output by default.
            silent: print nothing at all.
            cost_objective: latency_ms, macs or param_count.
            activity_file: also keeps what each worker does, as one JSON object; None for no file.
        """
        output = sys.stdout or io.StringIO()  # a process without an output
        # rich takes FORCE_COLOR for a terminal; control characters are for real ones only.
        self._console = console or Console(file=output, highlight=False, force_terminal=output.isatty())
        self._study = study
        self._budget = budget
        self._already = already
        self._silent = silent or sys.stdout is None
        self._quiet = quiet or self._silent
        self._cost_objective = cost_objective
        self._evaluated = already
        self._summary = ""
        self._front: Sequence[FrontMember] = ()
        self._layouts: Mapping[int, str] = {}
        self._activities: Mapping[str, str] = {}
        self._activity_file = activity_file
        self._kept_activities: Mapping[str, str] = {}
        self._kept_at = -ACTIVITY_S
        self._started = self._shown_at = time.monotonic()
        self._shown_evaluated = already
        self._gone = False
        drawn = not self._quiet and _can_draw(self._console)
        self._live = Live(console=self._console, auto_refresh=False, get_renderable=self._draw) if drawn else None

    def __enter__(self) -> Self:
        if self._live is not None and not self._is_gone():
            with self._output():
                self._live.start()
            if self._gone:
                self._live = None  # rich failed at its first write and has nothing to give back
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_live()

    def plan(self, lines: Sequence[str]) -> None:
        """Say what will be done, before anything is spent; the clock of rate and time left starts here."""
        if not self._quiet:
            self._print(*lines)
        self._started = self._shown_at = time.monotonic()

    def update(
        self,
        *,
        evaluated: int,
        counts: Mapping[str, int],
        best_top1: float | None,
        hypervolume: float | None,
        front: Sequence[FrontMember],
        layouts: Mapping[int, str],
        activities: Mapping[str, str],
    ) -> None:
        """Take in the state of the search, and show it when it is time.

        Args:
            evaluated: COMPLETE and PRUNED trials of the study, earlier runs included.
            counts: trials by state.
            best_top1: fraction in [0, 1]; None before the first score.
            hypervolume: of the front; None before there is one.
            front: by ascending cost.
            layouts: readable layout by trial number, at least of the members of the front.
            activities: what each worker does now.
        """
        self._evaluated = evaluated
        self._front = front
        self._layouts = layouts
        self._activities = activities
        self._summary = summary(counts, best_top1, hypervolume, len(front))
        now = time.monotonic()
        if now - self._kept_at >= ACTIVITY_S:
            self._keep_activities(now)
        if self._quiet or self._is_gone() or not self._is_due(now):
            return
        self._shown_at = now
        self._shown_evaluated = evaluated
        if self._live is None:
            self._print(f"evaluated {self._position()}; {self._pace()}; {self._summary}")
        else:
            with self._output():
                self._live.refresh()

    def note(self, message: str) -> None:
        """Print one line about an event: a failure, a retry, a takeover."""
        if not self._quiet:
            self._print(message)

    def finish(self, lines: Sequence[str]) -> None:
        """Freeze the display and print the last lines, also when quiet, but not when silent."""
        self._activities = {}
        self._keep_activities(time.monotonic())
        self._stop_live()
        if not self._silent:
            self._print(*lines)

    def _keep_activities(self, now: float) -> None:
        """Write what has changed; a disk that is full fails no search."""
        if self._activity_file is None or self._activities == self._kept_activities:
            return
        self._kept_activities = dict(self._activities)
        self._kept_at = now
        with contextlib.suppress(OSError):
            write_whole(self._activity_file, json.dumps(self._kept_activities).encode())

    def _is_due(self, now: float) -> bool:
        elapsed = now - self._shown_at
        if self._live is not None:
            return elapsed >= REFRESH_S
        fresh = self._evaluated - self._shown_evaluated
        return elapsed >= SILENCE_S or (fresh > 0 and (elapsed >= LINE_S or fresh >= LINE_SHARE * self._budget))

    def _position(self) -> str:
        return f"{self._evaluated}/{self._budget} ({self._evaluated / self._budget:.0%})"

    def _pace(self) -> str:
        """Rate and time left, from this run's evaluations."""
        done = self._evaluated - self._already
        elapsed_s = time.monotonic() - self._started
        if done <= 0 or elapsed_s <= 0:
            return f"{duration_text(elapsed_s)} so far"
        left_s = max(self._budget - self._evaluated, 0) * elapsed_s / done
        return f"{_rate_text(done / elapsed_s)}; {duration_text(left_s)} left"

    def _draw(self) -> RenderableType:
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(self._study, style="bold", overflow="ellipsis", no_wrap=True),
            Text(f"{self._position()}; {self._pace()}"),
        )
        bar = Bar(size=self._budget, begin=0, end=min(self._evaluated, self._budget), color="green")
        parts: list[RenderableType] = [head, bar, Text(self._summary)]
        if self._front:
            parts.append(self._draw_front())
        parts += [
            Text(printable(f"{worker}: {doing}"), style="dim", overflow="ellipsis", no_wrap=True)
            for worker, doing in self._activities.items()
        ]
        return Group(*parts)

    def _draw_front(self) -> Table:
        table = Table(box=None, padding=(0, 1), header_style="bold")
        for title in ("trial", "top1", cost_axis(self._cost_objective)):
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("layout of the front", overflow="ellipsis", no_wrap=True)
        shown = _thin(self._front, FRONT_ROWS)
        for member in shown:
            cost = cost_text(self._cost_objective, member.cost, unit=False)
            layout = Text(printable(self._layouts.get(member.trial_number, "")))
            table.add_row(str(member.trial_number), f"{member.top1:.4f}", cost, layout)
        if len(shown) < len(self._front):
            table.add_row("", "", "", Text(f"{len(self._front) - len(shown)} more", style="dim"))
        return table

    def _stop_live(self) -> None:
        if self._live is not None:
            # Stopping gives standard output back even when nothing can be written any more.
            self._console.quiet = self._is_gone()
            with self._output():
                self._live.stop()
            self._live = None

    def _print(self, *lines: str) -> None:
        with self._output():
            for line in lines:
                if self._is_gone():
                    return
                encoding = getattr(self._console.file, "encoding", None) or "utf-8"
                if self._live is not None:
                    self._console.print(printable(line, encoding), markup=False, highlight=False, soft_wrap=True)
                else:
                    # Not through rich, which ends the process when a pipe closes.
                    print(printable(line, encoding), file=self._console.file, flush=True)

    def _is_gone(self) -> bool:
        return self._gone or self._console.file.closed

    @contextlib.contextmanager
    def _output(self) -> Iterator[None]:
        """Survive the end of the terminal or the pipe, and print nothing from then on."""
        try:
            yield
        except OSError:
            self._gone = True


def _can_draw(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal and console.encoding.lower().startswith("utf")


def summary(counts: Mapping[str, int], best_top1: float | None, hypervolume: float | None, members: int) -> str:
    """What was found so far, in a part of a line."""
    parts = [] if best_top1 is None else [f"best top1 {best_top1:.4f}"]
    if hypervolume is not None:
        parts.append(f"hypervolume {hypervolume:.4f}")
    parts.append(f"front {members}")
    parts += [f"{state.lower()} {counts[state]}" for state in ("PRUNED", "REJECTED", "FAIL") if counts.get(state)]
    return ", ".join(parts)


def _rate_text(per_s: float) -> str:
    """Evaluations per second, minute or hour, whichever gives a number of at least one."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_s * seconds >= 1:
            return f"{per_s * seconds:.1f}/{unit}"
    return f"{per_s * 3600:.1f}/h"


def _thin(front: Sequence[FrontMember], rows: int) -> Sequence[FrontMember]:
    """At most `rows` members, evenly over the front, both ends included."""
    if len(front) <= rows:
        return front
    return [front[round(i * (len(front) - 1) / (rows - 1))] for i in range(rows)]
