"""What callers may do: the operations behind the routes and the pages, each checked against the caller's role."""

import contextlib
import functools
import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from db.browse import Browser, Outline, TrialFilter
from db.engine import make_engine, redact_url
from db.errors import place_of
from db.removal import remove_study
from db.service_tables import ensure_service_tables
from db.store import SqlStore
from db.submissions import ACTIVE, Job, Submission, Submissions
from db.tokens import Tokens
from db.writes import Writes
from hybrid_nas import parts
from hybrid_nas.service.answers import job_json, page_json, study_json, trial_of, whole_trial_json
from hybrid_nas.service.callers import Caller
from hybrid_nas.service.children import Child, last_lines
from hybrid_nas.service.courtesy import Courtesy
from hybrid_nas.service.errors import ConflictError, ForbiddenError, NotFoundError
from hybrid_nas.service.glance import Glance
from hybrid_nas.service.hiding import without_paths
from hybrid_nas.service.kept import Answer
from hybrid_nas.service.options import SearchOptions, checked
from hybrid_nas.service.recorded import Numbers, Recorded
from hybrid_nas.service.settings import Settings
from hybrid_nas.service.supervisor import Supervisor
from nas.config import EARLIER_STUDY
from nas.errors import InvalidInputError
from nas.records import JSON, StudyRecord
from nas.search.weights import WEIGHTS
from nas.workspace import study_folder
from search_spaces.zoo.index import require_name

LOG_LINES = 2_000
MOST_WAITING = 100
"""Searches, and exports, of one owner that wait at a time: whoever asks without end fills no queue for others."""
P = ParamSpec("P")
T = TypeVar("T")


def one_at_a_time(
    change: Callable[Concatenate["Service", P], T],
) -> Callable[Concatenate["Service", P], T]:
    """A change that looks at a state first, while no other caller changes any: two deletions, or one and a
    continuation, would otherwise meet in the midst."""

    @functools.wraps(change)
    def changing(self: "Service", /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.changing:
            return change(self, *args, **kwargs)

    return changing


class Service:
    """One database and one queue. May be used by several threads."""

    def __init__(self, settings: Settings, store: SqlStore, check_owner: Callable[[], None]) -> None:
        """Use a database that is open; the supervisor is not started.

        Args:
            settings: of the service.
            store: open.
            check_owner: as Supervisor takes it.
        """
        self.settings = settings
        self.store = store
        self._engine = make_engine(settings.storage)
        self.places = {redact_url(settings.storage), place_of(self._engine.url)}
        ensure_service_tables(self._engine)
        self.tokens = Tokens(self._engine)
        self.submissions = Submissions(self._engine)
        self.browser = Browser(self._engine)
        self.supervisor = Supervisor(settings, self.submissions, self.browser, check_owner)
        self.recorded = Recorded(settings, store, self.browser)
        self.courtesy = Courtesy()
        self.glance = Glance(Writes(self._engine))
        self.changing = threading.Lock()

    def close(self) -> None:
        """Close the connections; children go on."""
        self._engine.dispose()

    def health(self) -> JSON:
        """Numbers that say whether it works; nothing about studies."""
        queued = len(self.submissions.all("queued"))
        running = len(self.submissions.all("running", "stopping"))
        status = "ok" if self.supervisor.works else "stalled"
        return {"status": status, "queued": queued, "running": running, "slots": self.settings.slots}

    def submit(self, caller: Caller, options: SearchOptions) -> JSON:
        """Queue a search.

        Raises:
            ForbiddenError: if the caller may not submit, or an option lies outside a fence.
            ConflictError: if the study's name is taken.
            InvalidInputError: if an option cannot be used.
        """
        caller.require("user")
        config = checked(options, self.settings, is_admin=caller.is_admin)
        self._check_warm_start(config.warm_start)
        _check_room(self.submissions.all("queued"), caller.name)
        if self.browser.outline(config.study) is not None and not caller.is_admin:
            raise _taken(config.study)
        given = {**options.given(), "study": config.study}
        if not self.submissions.add(config.study, caller.name, given):
            raise _taken(config.study)
        self.supervisor.wake()
        return self.study(config.study)

    def _check_warm_start(self, warm_start: str) -> None:
        """Refuse an earlier study that nobody knows; one that is queued may have ended before it is needed."""
        name = warm_start.removeprefix(EARLIER_STUDY)
        is_named = name != warm_start
        if is_named and self.submissions.one(name) is None and self.browser.outline(name) is None:
            raise InvalidInputError(
                f"warm_start names the study {name!r:.200}, which is not here; expected one of the list of studies"
            )

    def studies(
        self, *, state: str | None = None, owner: str | None = None, search: str | None = None, offset: int, limit: int
    ) -> JSON:
        """A page of all studies, submitted or only recorded, newest first."""
        submissions = {each.study: each for each in self.submissions.all()}
        outlines = {each.name: each for each in self.recorded.outlines()}
        created = {name: each.created for name, each in outlines.items()}
        created |= {name: each.created for name, each in submissions.items()}
        names = sorted(created, key=lambda name: (created[name], name), reverse=True)
        if owner is not None:
            names = [name for name in names if name in submissions and submissions[name].owner == owner]
        if search is not None:
            names = [name for name in names if search.casefold() in name.casefold()]
        if state is not None:
            names = [name for name in names if self._state(name, submissions.get(name)) == state]
        has_queue = any(each.state == "queued" for each in submissions.values())
        positions = self._positions() if has_queue else {}
        shown = names[offset : offset + limit]
        items = [self._study(name, submissions.get(name), outlines.get(name), positions) for name in shown]
        return page_json(items, len(names), offset, limit)

    def study(self, name: str) -> JSON:
        """One study.

        Raises:
            NotFoundError: if there is none of that name.
        """
        submission = self.submissions.one(name)
        outline = self.recorded.outline(name)
        if submission is None and outline is None:
            raise _unknown(name)
        is_waiting = submission is not None and submission.state == "queued"
        return self._study(name, submission, outline, self._positions() if is_waiting else {})

    def listed(self, **wanted: Any) -> Answer:
        """What `studies` gives, ready to be sent."""
        return Answer.of_json(self.studies(**wanted))

    def stands(self, name: str) -> Answer:
        """What `study` gives, ready to be sent."""
        return Answer.of_json(self.study(name))

    @one_at_a_time
    def stop(self, caller: Caller, name: str) -> JSON:
        """Take a search out of the queue, or ask it to end in order.

        Raises:
            ForbiddenError: if it is another's.
            ConflictError: if it neither waits nor runs.
        """
        submission = self._own(caller, name)
        if submission.state == "queued":
            self._change(submission, state="stopped", ended=datetime.now(UTC))
        elif submission.state in ("running", "stopping"):
            self._change(submission, state="stopping", after_stop="stopped")
        else:
            raise ConflictError(f"study {name!r} is {submission.state}; only what waits or runs can be stopped")
        return self.study(name)

    @one_at_a_time
    def continue_(self, caller: Caller, name: str) -> JSON:
        """Queue a search again that was stopped, failed or finished: the same study goes on.

        Raises:
            ForbiddenError: if it is another's.
            ConflictError: if it waits, runs or is about to stop.
        """
        submission = self._own(caller, name)
        if submission.state in ("queued", "running", "stopping"):
            raise ConflictError(f"study {name!r} is {submission.state}; only what has ended can be continued")
        self._queue_again(submission, submission.options)
        return self.study(name)

    def extend(self, caller: Caller, name: str, budget: int) -> JSON:
        """Give a search a larger budget. One that runs is stopped first, and goes on with it.

        Raises:
            ForbiddenError: if it is another's.
            InvalidInputError: if the budget is not larger.
        """
        options = {**self._own(caller, name).options, "budget": budget}
        checked(SearchOptions(**options), self.settings, is_admin=True)  # reads the data, which nobody else waits for
        self._enlarge(caller, name, budget)
        return self.study(name)

    @one_at_a_time
    def _enlarge(self, caller: Caller, name: str, budget: int) -> None:
        submission = self._own(caller, name)
        before = int(submission.options["budget"])
        if budget <= before:
            raise InvalidInputError(f"--budget is {budget}; expected more than the {before} of study {name!r}")
        options = {**submission.options, "budget": budget}
        if submission.state == "queued":
            self._change(submission, options=options)
        elif submission.state in ("running", "stopping"):
            self._change(submission, state="stopping", after_stop="queued", options=options)
        else:
            self._queue_again(submission, options)

    def trials(self, name: str, wanted: TrialFilter, offset: int, limit: int) -> Answer:
        """A page of trials."""
        return self.recorded.trials(self.outline(name), wanted, offset, limit)

    def trial(self, name: str, number: int) -> JSON:
        """One trial with spec, scores and timings.

        Raises:
            NotFoundError: if there is none of that number.
        """
        outline = self.outline(name)
        row = self.browser.trial(outline.id, number)
        if row is None:
            raise NotFoundError(f"study {name!r} has no trial {number}; its trials say which there are")
        return whole_trial_json(row, outline.cost_objective)

    def drawing(self, name: str, number: int) -> str:
        """The layout of a trial's network as SVG."""
        from search_spaces.architecture.drawing import draw
        from search_spaces.architecture.spec import Architecture

        try:
            return draw(Architecture.from_spec(self.trial(name, number)["spec"]))
        except InvalidInputError as error:
            raise NotFoundError(
                f"trial {number} of study {name!r} is of a space of its own and has no drawing"
            ) from error

    def front(self, name: str, target: str | None, *, final: bool) -> Answer:
        """What `pareto --json` gives."""
        if final and target is not None:
            raise InvalidInputError("final and target are both given; give one of them")
        return self.recorded.front(self.outline(name), target, final=final)

    def targets(self, name: str) -> list[str]:
        """What a study's front can be asked on, as the option --latency-target names it."""
        return self.recorded.targets(self.outline(name))

    def history(self, name: str, target: str | None) -> Answer:
        """What `pareto --history --json` gives."""
        return self.recorded.history(self.outline(name), target)

    def explain(self, name: str, trial: int | None) -> Answer:
        """What `explain --json` gives."""
        return self.recorded.explain(self.outline(name), trial)

    def log(self, name: str, count: int) -> list[str]:
        """The last lines that the search printed; those of its log where it was not submitted here."""
        return [without_paths(line, self.settings) for line in self._lines(name, min(count, LOG_LINES))]

    def _lines(self, name: str, count: int) -> list[str]:
        child = self.child(name)
        if child is not None:
            return child.last_lines(count)
        record = self.store.study(name)
        return [] if record is None else last_lines(self._log_file(record), count)

    def child(self, name: str) -> Child | None:
        """The process of a submission, running or not."""
        submission = self.submissions.one(name)
        return None if submission is None else self.supervisor.child(submission)

    @one_at_a_time
    def export(self, caller: Caller, name: str, options: JSON) -> JSON:
        """Queue an export to the zoo.

        Raises:
            ForbiddenError: if the study is another's.
            InvalidInputError: if an option cannot be used.
        """
        caller.require("user")
        submission = self.submissions.one(name)
        if submission is not None:
            caller.require_owner(submission.owner, name)
        self.outline(name)
        if options.get("name") is not None:
            require_name(options["name"])
        if options.get("overwrite") and not caller.is_admin:
            raise ForbiddenError("only an administrator may replace an entry of the zoo; give another name")
        _check_room(self.submissions.jobs("queued"), caller.name)
        job = Job(uuid.uuid4().hex, "export", name, caller.name, options, "queued", None, None, datetime.now(UTC), None)
        self.submissions.add_job(job)
        self.supervisor.wake()
        return job_json(job)

    def exports(self, name: str, trial: int | None, offset: int, limit: int) -> JSON:
        """A page of a study's exports, or of one trial's, newest first: those that wait, run and have ended.

        Raises:
            NotFoundError: if there is no study of that name.
        """
        if self.submissions.one(name) is None and self.recorded.outline(name) is None:
            raise _unknown(name)
        found = [job for job in reversed(self.submissions.jobs_of(name)) if trial in (None, trial_of(job))]
        shown = [job_json(job) for job in found[offset : offset + limit]]
        return page_json(shown, len(found), offset, limit)

    def job(self, key: str) -> JSON:
        """One job.

        Raises:
            NotFoundError: if there is none of that id.
        """
        job = self.submissions.job(key)
        if job is None:
            raise NotFoundError(f"there is no job {key!r}; the answer to an export has the id of its job")
        return job_json(job)

    @one_at_a_time
    def delete(self, caller: Caller, name: str, confirm: str) -> None:
        """Delete a study that has ended: its submission, facts, weights and output. Drawings and the zoo stay.

        A kill in its midst leaves the submission, so that the same request ends what was begun.

        Raises:
            ForbiddenError: if it is another's, or was not submitted here and the caller is no administrator.
            ConflictError: if it waits or runs, or the name was not repeated.
        """
        submission = self.submissions.one(name)
        outline = self.browser.outline(name)
        if submission is None and outline is None:
            raise _unknown(name)
        caller.require("admin" if submission is None else "user")
        if submission is not None:
            caller.require_owner(submission.owner, name)
        if confirm != name:
            raise ConflictError(f"confirm is {confirm!r}; expected the name of the study, {name!r}")
        if self._state(name, submission) in ("queued", "running", "stopping") or self.store.lease(name) is not None:
            raise ConflictError(f"study {name!r} waits or runs; stop it first")
        jobs = self.submissions.jobs_of(name)
        if any(job.state in ("queued", "running") for job in jobs):
            raise ConflictError(f"study {name!r} is being exported; delete it when that has ended")
        if outline is not None:
            self._remove(name)
        self.submissions.remove_jobs(name)
        for job in jobs:
            self.supervisor.job_child(job).forget()
        if submission is not None:
            if not self.submissions.remove(submission):
                raise _changed(name)
            self.supervisor.child(submission).forget()

    def _remove(self, name: str) -> None:
        """Optuna's rows first: without ours nothing would say that there are some."""
        record = self.store.study(name)
        assert record is not None, "it was found a moment ago"
        with parts.optuna_storage(self.settings.storage, writes=True) as storage, contextlib.suppress(KeyError):
            storage.delete_study(storage.get_study_id_from_name(name))
        remove_study(self._engine, name)
        self.recorded.forget()
        workspace = parts.workspace_of(self.settings.storage, self.settings.artifacts)
        shutil.rmtree(workspace.artifacts / WEIGHTS / study_folder(name, record.uid), ignore_errors=True)
        self._log_file(record).unlink(missing_ok=True)

    def _log_file(self, record: StudyRecord) -> Path:
        workspace = parts.workspace_of(self.settings.storage, self.settings.artifacts)
        return workspace.log_file(record.name, record.uid)

    def outline(self, name: str) -> Outline:
        """What a recorded study is.

        Raises:
            NotFoundError: if there is none of that name.
            ConflictError: if it was submitted and has recorded nothing yet.
        """
        outline = self.recorded.outline(name)
        if outline is not None:
            return outline
        if self.submissions.one(name) is not None:
            raise ConflictError(f"study {name!r} has recorded nothing yet; ask again when its search has begun")
        raise _unknown(name)

    def _study(
        self, name: str, submission: Submission | None, outline: Outline | None, positions: dict[str, int]
    ) -> JSON:
        numbers = Numbers() if outline is None else self.recorded.numbers(outline)
        return study_json(
            name,
            submission,
            outline,
            position=positions.get(name),
            is_running=self._state(name, submission) == "running",
            counts=numbers.counts,
            best_top1=numbers.best_top1,
            front=numbers.front,
            workers=self.workers(submission),
        )

    def workers(self, submission: Submission | None) -> JSON:
        """What each worker of a search does now, by its name; empty where none runs, or nobody submitted it here."""
        if submission is None or submission.state not in ACTIVE:
            return {}
        return dict(self.supervisor.child(submission).activities())

    def doing_since(self, submission: Submission | None) -> int:
        """Changes with what `workers` gives; 0 where that is nothing."""
        if submission is None or submission.state not in ACTIVE:
            return 0
        return self.supervisor.child(submission).activities_since()

    def _state(self, name: str, submission: Submission | None) -> str:
        if submission is not None:
            return submission.state
        return "running" if self.recorded.is_searched(name) else "stopped"

    def _positions(self) -> dict[str, int]:
        return {submission.study: position for position, submission in enumerate(self.supervisor.queue(), 1)}

    def _own(self, caller: Caller, name: str) -> Submission:
        caller.require("user")
        submission = self.submissions.one(name)
        if submission is None and self.browser.outline(name) is None:
            raise _unknown(name)
        if submission is None:
            raise ConflictError(
                f"study {name!r} was not submitted here; submit it with the same options to go on with it"
            )
        caller.require_owner(submission.owner, name)
        return submission

    def _queue_again(self, submission: Submission, options: JSON) -> None:
        _check_room(self.submissions.all("queued"), submission.owner)
        values = {"state": "queued", "options": options, "queued": datetime.now(UTC), "attempts": 0}
        self._change(submission, **values, after_stop=None, ended=None, exit_line=None)

    def _change(self, submission: Submission, **values: Any) -> None:
        if not self.submissions.change(submission, **values):
            raise _changed(submission.study)
        self.supervisor.wake()


def _check_room(waiting: Sequence[Submission | Job], owner: str) -> None:
    if sum(each.owner == owner for each in waiting) >= MOST_WAITING:
        raise ConflictError(f"{MOST_WAITING} of {owner!r} wait already; ask again when one of them has begun")


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"there is no study {name!r}; the list of studies says which there are")


def _taken(name: str) -> ConflictError:
    return ConflictError(f"a study named {name!r} exists; give another name (--study), or continue or extend it")


def _changed(name: str) -> ConflictError:
    return ConflictError(f"study {name!r} has changed meanwhile; look at it and ask again")
