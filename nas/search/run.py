"""One run of a search under its study's lease, from the first check to the last line."""

import logging
import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nas.backoff import Backoff
from nas.caller import Caller
from nas.config import SearchConfig
from nas.errors import InvalidInputError
from nas.protocols import Evaluator, SearchSpace, Store
from nas.records import JSON, ProcessId, StudyRecord, TrialFacts
from nas.search.attributes import make_drawings_folder
from nas.search.establish import Identity, Sampling, already_done, check_study, establish
from nas.search.events import Ended, Note, OnEvent
from nas.search.loop import INTERRUPTED, Outcome, Search
from nas.search.ownership import EndSession, Ownership, owned
from nas.search.progress import Progress
from nas.search.retiming import time_again, unsettled
from nas.search.study import Storage

logger = logging.getLogger(__name__)


class HostedEvaluator(Evaluator, Protocol):
    """An evaluator that says which processes it started, for the study's lease."""

    @property
    def session_processes(self) -> tuple[ProcessId, ...]:
        """Every process of its local session as of now."""
        ...

    @property
    def session_folder(self) -> str:
        """Folder of its local session; empty without one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchParts:
    """What a search works with; hybrid_nas/parts.py picks it."""

    config: SearchConfig
    """The validated options, defaults filled in."""
    space: SearchSpace
    identity: Identity
    """What a new study is; its workers tell what is missing of it."""
    describe: Callable[[], Identity]
    """Gives all of it, to compare with a study that is recorded. It may take seconds."""
    targets: Callable[[], Sequence[JSON]] = tuple
    """Gives the fingerprints on which the members of the front are timed again at the end, the objective's first."""
    sampling: Sampling
    """Entered while the sampler computes."""
    trial_timeout_s: float = math.inf
    """Longest evaluation that workers are allowed."""
    notes: Sequence[str] = ()
    """Lines that say what was changed of the options, where something is to be done."""
    prepare: Callable[[Callable[[str], object]], object] = lambda say: None
    """Gets ready what the workers share, before they start; takes what says a line."""
    begin_text: Callable[[int], str]
    """Number of workers -> line that says what is started, before it is."""
    make_evaluator: Callable[[int, Path, StudyRecord | None, Callable[[str], None]], HostedEvaluator]
    """Starts so many workers, which write to a log file, for the study that is recorded or a new one; says what is
    waited for."""
    end_session: EndSession
    """Ends what a dead coordinator of the study left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Who asks for a search, and what they see and hear of it."""

    caller: Caller
    """Says nothing where the search is to be quiet."""
    log_file: Callable[[str], Path]
    """Given the study's uid."""
    make_progress: Callable[[int], Progress]
    """Given how many architectures earlier runs evaluated."""
    closing_lines: Callable[[Outcome], Sequence[str]]
    """The front, where things are, and what to type next."""
    on_event: OnEvent
    backoff: Backoff
    """How long an outage of database or disk is waited for; the store shares it."""

    step: Callable[[str], None]
    """Shows what is waited for until there is a progress to show, and tells the caller's function."""

    def note(self, text: str) -> None:
        """Say a line and tell the caller's function."""
        self.caller.say(text)
        self.on_event(Note(text))


def run_search(parts: SearchParts, store: Store, storage: Storage, around: Surroundings) -> Outcome:
    """Search in the study under its lease, and say how it ended.

    Args:
        parts: what is searched and who evaluates.
        store: open.
        storage: Optuna's, in the same database.
        around: what people and the caller see.

    Raises:
        StudyMismatchError: if the study exists with other settings.
        StudyLockedError: if another living process owns it.
        NasError: if database, disk, evaluator or too many evaluations fail.
    """
    config = parts.config
    backoff = around.backoff
    with owned(store, config.study, parts.end_session, around.note, backoff) as ownership:
        recorded = backoff.until_done(lambda: check_study(store, storage, config, parts.space, parts.describe))
        uid = uuid.uuid4().hex if recorded is None else recorded.uid
        log_file = around.log_file(uid)
        around.caller.keep_log(log_file)
        make_drawings_folder(Path(config.artifacts))
        outcome = None
        if recorded is not None:
            _note_version(recorded, parts.describe(), around)
            _note_missing_weights(config, recorded, store, around)
            outcome = _finished_before(parts, recorded, store, storage, backoff)
        if outcome is None:
            workers = _num_workers(parts, store, around)
            parts.prepare(around.note)
            with around.caller.signals.closing(
                lambda: parts.make_evaluator(workers, log_file, recorded, around.step)
            ) as evaluator:
                ownership.note_session(lambda: (evaluator.session_processes, evaluator.session_folder))
                search = establish(
                    config=config,
                    space=parts.space,
                    identity=parts.identity if recorded is None else parts.describe(),
                    recorded=recorded,
                    uid=uid,
                    evaluator=evaluator,
                    store=store,
                    storage=storage,
                    sampling=parts.sampling,
                    backoff=backoff,
                )
                outcome = _run(search, parts, evaluator, store, ownership, around)
        else:
            around.make_progress(config.budget).finish(_closing_lines(outcome, around))
    around.on_event(Ended(outcome.reason, outcome.complete))
    return outcome


def _finished_before(
    parts: SearchParts, recorded: StudyRecord, store: Store, storage: Storage, backoff: Backoff
) -> Outcome | None:
    """How a study ended in which nothing is left to do; None where there is something."""
    outcome = already_done(parts.config, parts.space, recorded, store, storage, backoff)
    # A kill may have come before the front was timed again, and that needs workers.
    return None if outcome is None or unsettled(recorded, parts.targets(), store) else outcome


def _num_workers(parts: SearchParts, store: Store, around: Surroundings) -> int:
    """Workers that are started, no more than there are evaluations left; says so.

    Raises:
        InvalidInputError: if every evaluation of the study took longer than one may take now.
    """
    config = parts.config
    facts = list(store.facts(config.study))
    _check_timeout(parts, facts)
    left = max(1, config.budget - sum(trial.is_counted for trial in facts))
    for note in parts.notes:
        around.note(note)
    if left < config.workers:
        around.note(f"note: only {left} of {config.workers} workers would have work, so no more are started")
    workers = min(left, config.workers)
    around.caller.say(parts.begin_text(workers))
    return workers


def _check_timeout(parts: SearchParts, facts: Sequence[TrialFacts]) -> None:
    """A study without evaluations is asked by its calibration."""
    shortest_s = min((trial.duration_s for trial in facts if trial.state == "COMPLETE"), default=0.0)
    if parts.trial_timeout_s < shortest_s:
        raise InvalidInputError(
            f"--trial-timeout-s is {parts.trial_timeout_s:g}, and the shortest evaluation of study "
            f"{parts.config.study!r} took {shortest_s:.3g} s; give a larger one"
        )


def _run(
    search: Search,
    parts: SearchParts,
    evaluator: Evaluator,
    store: Store,
    ownership: Ownership,
    around: Surroundings,
) -> Outcome:
    config = parts.config
    record = store.study(config.study)
    assert record is not None, "an established study is recorded"
    with around.caller.signals.deferred() as stop_requested, around.make_progress(search.evaluated) as progress:

        def note(text: str) -> None:
            progress.note(text)
            around.on_event(Note(text))

        around.backoff.say = note
        around.backoff.stop_requested = stop_requested
        progress.plan(search.plan)
        outcome = search.run(progress, ownership.check, stop_requested, around.on_event)
        if outcome.complete and not time_again(
            unsettled(record, parts.targets(), store),
            seed=config.seed,
            evaluator=evaluator,
            store=store,
            check_owner=ownership.check,
            stop_requested=stop_requested,
            note=note,
        ):
            outcome = INTERRUPTED
        progress.finish(_closing_lines(outcome, around))
    return outcome


def _closing_lines(outcome: Outcome, around: Surroundings) -> Sequence[str]:
    logger.info("%s", outcome.reason)
    return around.closing_lines(outcome)


def _note_version(recorded: StudyRecord, identity: Identity, around: Surroundings) -> None:
    if recorded.code_version != identity.code_version:
        around.note(f"note: the study was created by version {recorded.code_version}, this is {identity.code_version}")


def _note_missing_weights(config: SearchConfig, recorded: StudyRecord, store: Store, around: Surroundings) -> None:
    """A folder may have been moved, so other --artifacts are no error; but `export` would not find what stays
    elsewhere."""
    front = store.front(config.study)
    folder = Path(config.artifacts)
    members = {member.trial_number for member in front.members} if front is not None else set()
    kept = [trial.weights for trial in store.facts(config.study) if trial.trial_number in members and trial.weights]
    missing = sum(not (folder / weights.path).is_file() for weights in kept)
    if missing:
        around.note(
            f"note: the weights of {missing} members of the front are not in {folder}; the study began with "
            f"--artifacts {recorded.artifacts}. Give that, or move its content, or `export` will not find them"
        )
