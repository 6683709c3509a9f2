"""A search on a service, shown as a search in this terminal."""

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from queue import Empty, SimpleQueue

from hybrid_nas.server import Server, ServerEvent, lasting_events
from nas.errors import NasError, UnavailableError
from nas.records import COUNTED_STATES, JSON, FrontMember
from nas.search.progress import REFRESH_S, Progress, summary

ENDED = ("finished", "failed", "stopped")
REST_S = 3.0
"""How long the stream of a search that has ended is silent, once all of it was sent."""
_OWN_LINE = re.compile(r"evaluated \d+/\d+ ")
"""Begins a line of progress, which this display shows itself."""


class Watch:
    """What is known of a study while its events come in."""

    def __init__(self, study: JSON, progress: Progress) -> None:
        self._progress = progress
        self._study = study
        self.seen = ""
        """Id of the last event."""
        self._counts: Counter[str] = Counter()
        self._best: float | None = None
        self._front: list[FrontMember] = []
        self._hypervolume: float | None = None
        self._layouts: dict[int, str] = {}
        self._activities: Mapping[str, str] = {}
        self._already = study["evaluated"]

    @property
    def is_over(self) -> bool:
        """Whether the search has ended and all of it was shown."""
        study = self._study
        has_all = sum(self._counts.values()) >= sum(study["trials"].values())
        return study["state"] in ENDED and has_all and len(self._front) == study["front_size"]

    @property
    def has_failed(self) -> bool:
        return bool(self._study["state"] == "failed")

    @property
    def last_line(self) -> str:
        """How it ended."""
        study = self._study
        found = summary(self._counts, self._best, self._hypervolume, len(self._front))
        lines = (study["exit_line"] or "").splitlines()
        line = f": {lines[-1]}" if lines else ""
        evaluated = f"{study['evaluated']} of {study['budget']} evaluated; {found}"
        return f"study {study['name']} is {study['state']}, {evaluated}{line}"

    def take(self, event: ServerEvent) -> None:
        """Take in one event, and show it."""
        data = event.data
        self.seen = event.id
        if event.kind == "state":
            self._take_state(data)
        elif event.kind == "trial":
            self._take_trial(data)
        elif event.kind == "front":
            self._front = [_member(member) for member in data["members"]]
            self._hypervolume = data["hypervolume"]
        elif event.kind == "workers":
            self._activities = data
        elif event.kind == "line" and not _OWN_LINE.match(data["text"]):
            self._progress.note(data["text"])
        if event.kind != "trial":  # the front that it may have changed comes next, or silence
            self.show()

    def show(self) -> None:
        """Show what is known, when it is time."""
        self._progress.update(
            evaluated=sum(self._counts[state] for state in COUNTED_STATES),
            counts=self._counts,
            best_top1=self._best,
            hypervolume=self._hypervolume,
            front=self._front,
            layouts=self._layouts,
            activities=self._activities,
        )

    def _take_state(self, study: JSON) -> None:
        has_changed = study["state"] != self._study["state"]
        self._study = study
        self._activities = study["workers"]
        if has_changed:
            self._progress.note(f"study {study['name']} is {study['state']}")
        if has_changed and study["state"] == "running" and study["evaluated"] == self._already:
            self._progress.plan([])  # rate and time left do not count what it waited in the queue

    def _take_trial(self, trial: JSON) -> None:
        self._counts[trial["state"]] += 1
        self._layouts[trial["number"]] = trial["layout"]
        if trial["state"] == "COMPLETE":
            self._best = max(self._best or 0.0, trial["top1"])


def _member(given: JSON) -> FrontMember:
    return FrontMember(given["trial_number"], given["arch_hash"], given["top1"], given["cost"])


def watch_study(server: Server, study: JSON, *, quiet: bool) -> bool:
    """Show a search until it ends; a restart of the service is waited for.

    Args:
        server: the service.
        study: as the service describes it.
        quiet: print the end only.

    Returns:
        Whether it did not fail.
    """
    cost = study["cost_objective"]
    progress = Progress(study["name"], study["budget"] or 1, study["evaluated"], quiet, cost_objective=cost)
    watch = Watch(study, progress)
    with progress:
        for heard in _hear(server, study["name"]):
            if heard is None:
                watch.show()
            elif isinstance(heard, str):
                progress.note(heard)
            else:
                watch.take(heard)
            if watch.is_over:
                break
        with contextlib.suppress(UnavailableError):  # the last lines come behind the end
            for event in server.events(study["name"], watch.seen, silence_s=REST_S):
                watch.take(event)
        progress.finish([watch.last_line])
    return not watch.has_failed


def _hear(server: Server, study: str) -> Iterator[ServerEvent | str | None]:
    """Events of a study, lines about the connection, and None whenever nothing came for REFRESH_S.

    A thread listens, so that the display is drawn by this one, also while it is silent.
    """
    said: SimpleQueue[ServerEvent | str | NasError] = SimpleQueue()

    def listen() -> None:
        try:
            for event in lasting_events(server, study, said.put):
                said.put(event)
        except NasError as error:
            said.put(error)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    while True:
        try:
            heard = said.get(timeout=REFRESH_S)
        except Empty:
            assert listener.is_alive(), "an error that it does not know is printed"
            yield None
            continue
        if isinstance(heard, NasError):
            raise heard
        yield heard
