"""What happens in a study as server-sent events. An event's id says how far its reader has come in what is recorded, so
that a stream goes on behind it after a restart of the service, too. Readers at the same place of a study share one look
for what is new.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from starlette.concurrency import run_in_threadpool

from hybrid_nas.service.answers import front_event, trial_json
from hybrid_nas.service.core import Service
from hybrid_nas.service.courtesy import LONGEST_S
from hybrid_nas.service.errors import ServiceError
from hybrid_nas.service.hiding import without_paths
from nas.errors import InvalidInputError, NasError
from nas.records import JSON

LOOK_S = 1.0
"""Between two looks for something new."""
BEAT_S = 5.0
"""Between two signs of life, where nothing happens, and between two looks at a reader's token."""
EARLY_S = 0.02
"""A timer that ends by less than that before its time has ended at it."""
PART = 200
"""Trials that are read at a time."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a stream has come."""

    revision: int = 0
    """Changes of the submission that were told."""
    training_id: int = 0
    """Row of the trial that was told last."""
    front_version: int = 0
    line: int = 0
    """Bytes of the output that were told."""
    doing_since: int = 0
    """When what the workers do was said, as it was told last; 0 while they do nothing."""

    @classmethod
    def read(cls, text: str) -> Self:
        """The place that an id names; the beginning for an empty one.

        Raises:
            InvalidInputError: if no event has such an id.
        """
        if not text:
            return cls()
        parts = text.split("-")
        if len(parts) != 5 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
            raise InvalidInputError(f"the event {text[:100]!r} is unknown; send the id of one, or none")
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.revision}-{self.training_id}-{self.front_version}-{self.line}-{self.doing_since}"


def now(service: Service, study: str) -> Place:
    """The place behind everything that has happened in a study."""
    submission = service.submissions.one(study)
    outline = service.recorded.outline(study)
    line = 0 if submission is None else service.supervisor.child(submission).size()
    revision = 1 if submission is None else submission.revision
    if outline is None:
        return Place(revision, line=line)
    stamp = service.recorded.stamp(outline)
    return Place(revision, stamp.training_id, stamp.front_version, line)


def reached(service: Service, study: str, place: Place) -> Place:
    """The place, or the beginning where the study has not come so far: it was restored, or deleted and made again."""
    here = now(service, study)
    parts = [(place.revision, here.revision), (place.training_id, here.training_id), (place.line, here.line)]
    parts.append((place.front_version, here.front_version))
    return place if all(told <= happened for told, happened in parts) else Place()


class News(NamedTuple):
    """What is new behind a place."""

    texts: list[bytes]
    """Events as the browser's EventSource reads them."""
    place: Place
    """The place behind them."""


@dataclass(slots=True)
class _Look:
    """A look for news that lasts until there are some."""

    task: asyncio.Task[News]
    readers: int = 0


class Tail:
    """Follows studies for everybody who listens. Belongs to one event loop."""

    def __init__(self, service: Service) -> None:
        """Nobody listens yet."""
        self._service = service
        self._looks: dict[tuple[str, Place], _Look] = {}

    async def stream(
        self, study: str, place: Place, check_reader: Callable[[], Awaitable[object]]
    ) -> AsyncIterator[bytes]:
        """Events from a place on, until the study is deleted.

        Args:
            study: name of the study.
            place: what was told before.
            check_reader: raises ServiceError once the reader may read no more, as when the token was revoked.
        """
        checked = time.monotonic()
        yield b": begins\n\n"
        while True:
            with self._looking(study, place) as task:
                while not (await asyncio.wait({task}, timeout=_until_beat_s()))[0]:
                    yield b": beat\n\n"
                    if not await _may_read(check_reader):
                        return
            try:
                texts, place = task.result()
            except ServiceError:  # the study was deleted
                return
            yield b"".join(texts)
            if time.monotonic() - checked >= BEAT_S:
                checked = time.monotonic()
                if not await _may_read(check_reader):
                    return
            if len(texts) < PART:
                await asyncio.sleep(LOOK_S)

    @contextmanager
    def _looking(self, study: str, place: Place) -> Iterator[asyncio.Task[News]]:
        """The look of all who stand at a place; it ends with the last of them."""
        key = study, place
        look = self._looks.get(key)
        if look is None:
            look = _Look(asyncio.create_task(self._look(study, place)))
            self._looks[key] = look
        look.readers += 1
        try:
            yield look.task
        finally:
            look.readers -= 1
            if not look.readers:
                look.task.cancel()
                del self._looks[key]

    async def _look(self, study: str, place: Place) -> News:
        while True:
            await self._service.courtesy.give_way(LONGEST_S)
            try:
                news = await run_in_threadpool(_news, self._service, study, place)
            except ServiceError:
                raise
            except NasError:  # an outage passes
                news = News([], place)
            if news.texts:
                self._service.glance.end()
                return news
            await asyncio.sleep(LOOK_S)


def _until_beat_s() -> float:
    """Seconds until all that wait show a sign of life together, so that the service wakes once for them."""
    rest_s = BEAT_S - time.monotonic() % BEAT_S
    return rest_s if rest_s > EARLY_S else rest_s + BEAT_S


async def _may_read(check_reader: Callable[[], Awaitable[object]]) -> bool:
    try:
        await check_reader()
    except NasError as error:
        return not isinstance(error, ServiceError)  # an outage passes
    return True


def _news(service: Service, study: str, place: Place) -> News:
    """A part of what is new behind a place.

    Raises:
        NotFoundError: if the study was deleted.
    """
    texts: list[bytes] = []
    submission = service.submissions.one(study)
    outline = service.recorded.outline(study) if submission is not None else service.outline(study)
    revision = 1 if submission is None else submission.revision
    if revision != place.revision:
        place = replace(place, revision=revision)
        texts.append(_text("state", service.study(study), place))
    if submission is not None:
        for line, behind in service.supervisor.child(submission).lines_after(place.line):
            place = replace(place, line=behind)
            texts.append(_text("line", {"text": without_paths(line, service.settings)}, place))
    doing_since = service.doing_since(submission)
    if doing_since != place.doing_since:
        place = replace(place, doing_since=doing_since)
        texts.append(_text("workers", service.workers(submission), place))
    if outline is None:
        return News(texts, place)
    stamp = service.recorded.stamp(outline)
    budget = outline.budget if submission is None else int(submission.options["budget"])
    if place.training_id < stamp.training_id:
        for row in service.browser.trials_after(outline.id, place.training_id, PART):
            place = replace(place, training_id=row["id"])
            data = trial_json(row, outline.cost_objective)
            texts.append(_text("trial", {**data, "evaluated": row["evaluated"], "budget": budget}, place))
    if place.front_version < stamp.front_version and place.training_id >= stamp.training_id:
        front = service.store.front(study)
        if front is not None:
            place = replace(place, front_version=front.version)
            texts.append(_text("front", front_event(front), place))
    return News(texts, place)


def _text(event: str, data: JSON, place: Place) -> bytes:
    return f"id: {place}\nevent: {event}\ndata: {json.dumps(data, allow_nan=False)}\n\n".encode()
