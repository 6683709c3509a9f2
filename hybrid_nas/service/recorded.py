"""What is recorded, as many people ask for it: computed once, until something new is recorded of its study.

A look at the newest rows of all tables says in microseconds whether anything may have changed. Only then the newest
rows of the study are looked at, and only where these changed an answer is computed again.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from db.browse import Browser, Mark, Outline, Rank, Stamp, TrialFilter
from db.store import SqlStore
from hybrid_nas.service.answers import page_json, trial_json
from hybrid_nas.service.glance import once
from hybrid_nas.service.kept import Answer, Answers, encoded
from hybrid_nas.service.settings import Settings
from hybrid_nas.study import Study
from nas.pareto.history import HistoryKeeper
from nas.pareto.places import latest, places
from nas.records import JSON
from nas.reports.fronts import front_values
from nas.reports.histories import history_values
from workers.latency.target import KINDS, text_of

KEPT_ORDERS = 32
"""Orders of trials, of some 150 bytes a trial, that are kept."""
KEPT_TEXTS = 20_000
"""Trials, of some 600 bytes each, that are kept."""
LONGEST_TEXT = 2_000
"""Trials of more bytes, as one that failed with a long reason, are read anew."""
LEASE_S = 2.0
"""How long the answer to whether a study is being searched is kept."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """How far a study has come."""

    counts: dict[str, int] = field(default_factory=dict)
    """Trials by state."""
    best_top1: float | None = None
    front: tuple[int, float] | None = None
    """Members and hypervolume of the latest front."""


@dataclass(slots=True)
class _Known:
    """What was read, by the outline of its study and not by its row: rows of a study that was removed are given to
    others, and a thread may be late."""

    look: Callable[[], Mark]
    """Reads the mark: of a moment, once for what was known then."""
    outlines: dict[str, Outline] = field(default_factory=dict)
    all_outlines: tuple[Hashable, list[Outline]] | None = None
    stamps: dict[Outline, tuple[Mark, Stamp]] = field(default_factory=dict)
    numbers: dict[Outline, tuple[Stamp, Numbers]] = field(default_factory=dict)
    leases: dict[str, tuple[float, bool]] = field(default_factory=dict)
    histories: dict[Outline, tuple[int, HistoryKeeper]] = field(default_factory=dict)
    orders: dict[tuple[Outline, TrialFilter], tuple[int, list[Rank]]] = field(default_factory=dict)
    texts: dict[tuple[Outline, int, bool], bytes] = field(default_factory=dict)
    """(study, row of a trial, whether its weights are kept) -> its JSON."""
    answers: Answers = field(default_factory=Answers)


class Recorded:
    """The recorded studies of a database. May be used by several threads."""

    def __init__(self, settings: Settings, store: SqlStore, browser: Browser) -> None:
        """Use a database that is open.

        Args:
            settings: of the service.
            store: reads what a study is.
            browser: reads it in parts.
        """
        self._settings = settings
        self._store = store
        self._browser = browser
        self._known = self._nothing()
        self._replaying = threading.Lock()
        self._sorting = threading.Lock()

    def forget(self) -> None:
        """A study was removed: rows that come later may have its numbers."""
        self._known = self._nothing()

    def _nothing(self) -> _Known:
        return _Known(lambda: self._browser.mark())

    def outline(self, name: str) -> Outline | None:
        """What a study is, which never changes; None for an unknown one."""
        known = self._known.outlines
        found = known.get(name) or self._browser.outline(name)
        if found is not None:
            known[name] = found
        return found

    def outlines(self) -> list[Outline]:
        """Every study, oldest first."""
        known = self._known
        mark = once(known.look)
        kept = known.all_outlines
        if kept is None or kept[0] != mark.of_studies:
            kept = mark.of_studies, self._browser.outlines()
            known.all_outlines = kept
        return kept[1]

    def stamp(self, outline: Outline) -> Stamp:
        """Changes whenever something of a study is recorded."""
        known = self._known
        mark = once(known.look)
        kept = known.stamps.get(outline)
        if kept is None or kept[0] != mark:
            kept = mark, self._browser.stamp(outline.id, None if kept is None else kept[1])
            known.stamps[outline] = kept
        return kept[1]

    def numbers(self, outline: Outline) -> Numbers:
        """How far a study has come."""
        known = self._known.numbers
        stamp = self.stamp(outline)
        kept = known.get(outline)
        if kept is None or (kept[0] != stamp and kept[0].training_id <= stamp.training_id):
            kept = stamp, self._numbers(outline, stamp.training_id, kept)
            known[outline] = kept
        return kept[1]

    def is_searched(self, name: str) -> bool:
        """Whether a process works on a study, as of LEASE_S ago."""
        known = self._known.leases
        now = time.monotonic()
        kept = known.get(name)
        if kept is None or now - kept[0] > LEASE_S:
            kept = now, self._store.lease(name) is not None
            known[name] = kept
        return kept[1]

    def trials(self, outline: Outline, wanted: TrialFilter, offset: int, limit: int) -> Answer:
        """A page of trials."""
        order = self._order(outline, wanted, self.stamp(outline).training_id)
        rows = [rank.row for rank in order[offset : offset + limit]]
        with_weights = self._browser.with_weights(rows)

        def make() -> Answer:
            empty = encoded(page_json([], len(order), offset, limit))
            texts = b",".join(self._texts(outline, rows, with_weights))
            return Answer.of(empty.replace(b"[]", b"[%b]" % texts))

        stamp = len(order), tuple(rows), frozenset(with_weights)
        return self._known.answers.get((outline, "trials", wanted, offset, limit), stamp, make)

    def front(self, outline: Outline, target: str | None, *, final: bool) -> Answer:
        """What `pareto --json` gives."""
        if final:
            return self._answer(outline, ("final",), lambda: json.loads(self.handle(outline).final_pareto().json()))
        if target is not None:
            return self._answer(
                outline, ("front", target), lambda: json.loads(self.handle(outline).pareto(target).json())
            )
        return self._answer(outline, ("front",), lambda: self._front(outline), self.stamp(outline).of_front)

    def targets(self, outline: Outline) -> list[str]:
        """What a study's front can be asked on, as the option --latency-target names it."""

        def make() -> Any:
            timed = self._browser.targets(outline.id).get(outline.name, [])
            return list(dict.fromkeys(filter(None, map(option_of, timed))))

        return list(self._answer(outline, ("targets",), make).json)

    def history(self, outline: Outline, target: str | None) -> Answer:
        """What `pareto --history --json` gives."""
        return self._answer(outline, ("history", target), lambda: self._history(outline, target))

    def explain(self, outline: Outline, trial: int | None) -> Answer:
        """What `explain --json` gives."""
        return self._answer(outline, ("explain", trial), lambda: json.loads(self.handle(outline).explain(trial).json()))

    def handle(self, outline: Outline) -> Study:
        """The study as the Python API has it."""
        return Study(outline.name, self._settings.storage, self._settings.artifacts)

    def _answer(
        self, outline: Outline, key: tuple[Any, ...], make: Callable[[], Any], stamp: Hashable | None = None
    ) -> Answer:
        """The answer kept under a key until its stamp changes, which is that of the study by default."""
        stamp = self.stamp(outline) if stamp is None else stamp
        return self._known.answers.get((outline, *key), stamp, lambda: Answer.of_json(make()))

    def _order(self, outline: Outline, wanted: TrialFilter, last: int) -> Sequence[Rank]:
        """The wanted trials up to a row: sorted once for all pages, each read once."""
        known = self._known.orders
        with self._sorting:
            after, order = known.pop((outline, wanted), (0, []))
            if after < last:
                order = sorted([*order, *self._browser.order(outline.id, wanted, after, last)])
            known[outline, wanted] = max(after, last), order
            if len(known) > KEPT_ORDERS:
                del known[next(iter(known))]
        return order

    def _texts(self, outline: Outline, rows: Sequence[int], with_weights: Collection[int]) -> list[bytes]:
        """Trials by their rows as JSON; each is read once, and once more when its weights are gone."""
        known = self._known.texts
        found = {row: text for row in rows if (text := known.get((outline, row, row in with_weights))) is not None}
        missing = [row for row in rows if row not in found]
        if missing:
            if len(known) > KEPT_TEXTS:
                known.clear()
            for trial in self._browser.trials(missing):
                text = encoded(trial_json(trial, outline.cost_objective))
                found[trial["id"]] = text
                if len(text) <= LONGEST_TEXT:
                    known[outline, trial["id"], trial["weights_path"] is not None] = text
        return [found[row] for row in rows if row in found]

    def _numbers(self, outline: Outline, last: int, before: tuple[Stamp, Numbers] | None) -> Numbers:
        """Only what ended since then is counted."""
        after, known = (0, Numbers()) if before is None else (before[0].training_id, before[1])
        counts = Counter(known.counts)
        counts.update(self._browser.counts(outline.id, after, last))
        tops = [known.best_top1, self._browser.best_top1(outline.id, after, last)]
        best = max((top1 for top1 in tops if top1 is not None), default=None)
        front = self._store.front(outline.name)
        size = None if front is None else (len(front.members), front.hypervolume)
        return Numbers(dict(counts), best, size)

    def _front(self, outline: Outline) -> JSON:
        """As Study.pareto, which reads every trial; the members do."""
        study = self._store.study(outline.name)
        front = self._store.front(outline.name)
        if study is None or front is None:
            return dict(json.loads(self.handle(outline).pareto().json()))
        members = self._browser.facts_of(outline.name, [member.trial_number for member in front.members])
        again = places(front, members, latest(self._store.retimings(outline.name), study.target))
        return front_values(front, members, study, again)

    def _history(self, outline: Outline, target: str | None) -> JSON:
        """As Study.history, which reads every trial; here each is read once."""
        study = self._store.study(outline.name)
        if target is not None or study is None:
            return dict(json.loads(self.handle(outline).history(target).json()))
        known = self._known.histories
        with self._replaying:
            last = self.stamp(outline).training_id
            kept = known.pop(outline, None)
            after, keeper = kept or (0, HistoryKeeper(study.cost_objective, study.reference_point))
            for trial in self._browser.outcomes(outline.id, after, last):
                keeper.add(trial)
            known[outline] = max(after, last), keeper
            return history_values(keeper.history, study)


def option_of(fingerprint: JSON) -> str | None:
    """What --latency-target calls a fingerprint; None for latencies that a function of the caller's gave."""
    return text_of(fingerprint) if fingerprint["kind"] in KINDS else None
