"""What happens in a study as server-sent events. An event's id says how far its reader has come in what is recorded, so
that a stream goes on behind it after a restart of the service, too."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Self

from starlette.concurrency import run_in_threadpool

from hybrid_nas.service.answers import front_event, trial_json
from hybrid_nas.service.core import Service
from hybrid_nas.service.errors import ServiceError
from nas.errors import InvalidInputError, NasError
from nas.records import JSON

LOOK_S = 1.0
"""Between two looks for something new."""
BEAT_S = 10.0
"""Between two signs of life, where nothing happens."""
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

    @classmethod
    def read(cls, text: str) -> Self:
        """The place that an id names; the beginning for an empty one.

        Raises:
            InvalidInputError: if no event has such an id.
        """
        if not text:
            return cls()
        parts = text.split("-")
        if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
            raise InvalidInputError(f"the event {text[:100]!r} is unknown; send the id of one, or none")
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.revision}-{self.training_id}-{self.front_version}-{self.line}"


def now(service: Service, study: str) -> Place:
    """The place behind everything that has happened in a study."""
    submission = service.submissions.one(study)
    outline = service.browser.outline(study)
    line = 0 if submission is None else service.supervisor.child(submission).size()
    revision = 1 if submission is None else submission.revision
    if outline is None:
        return Place(revision, line=line)
    stamp = service.browser.stamp(outline.id)
    return Place(revision, stamp.training_id, stamp.front_version, line)


async def stream(service: Service, study: str, place: Place) -> AsyncIterator[str]:
    """Events from a place on, for ever; each is the text of one, as the browser's EventSource reads it."""
    quiet_since = time.monotonic()
    yield ": begins\n\n"
    while True:
        try:
            texts, place = await run_in_threadpool(_news, service, study, place)
        except ServiceError:  # the study was deleted
            return
        except NasError:  # an outage passes
            texts = []
        for text in texts:
            yield text
        now = time.monotonic()
        if texts:
            quiet_since = now
        elif now - quiet_since >= BEAT_S:
            quiet_since = now
            yield ": beat\n\n"
        await asyncio.sleep(LOOK_S)


def _news(service: Service, study: str, place: Place) -> tuple[list[str], Place]:
    """What is new behind a place, and the place behind that."""
    texts: list[str] = []
    submission = service.submissions.one(study)
    revision = 1 if submission is None else submission.revision
    if revision != place.revision:
        place = replace(place, revision=revision)
        texts.append(_text("state", service.study(study), place))
    if submission is not None:
        for line, behind in service.supervisor.child(submission).lines_after(place.line):
            place = replace(place, line=behind)
            texts.append(_text("line", {"text": line}, place))
    outline = service.browser.outline(study)
    if outline is None:
        return texts, place
    stamp = service.browser.stamp(outline.id)
    budget = outline.budget if submission is None else int(submission.options["budget"])
    while place.training_id < stamp.training_id:
        for row in service.browser.trials_after(outline.id, place.training_id, PART):
            place = replace(place, training_id=row["id"])
            data = trial_json(row, outline.cost_objective)
            texts.append(_text("trial", {**data, "evaluated": row["evaluated"], "budget": budget}, place))
    if place.front_version < stamp.front_version:
        front = service.store.front(study)
        if front is not None:
            place = replace(place, front_version=front.version)
            texts.append(_text("front", front_event(front), place))
    return texts, place


def _text(event: str, data: JSON, place: Place) -> str:
    return f"id: {place}\nevent: {event}\ndata: {json.dumps(data, allow_nan=False)}\n\n"
