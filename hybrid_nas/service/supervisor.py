"""Runs what is queued: each search is a child of its own, found again after any kill of this process.

A row says what is wanted, the lock of a child says what is (children.py). A row becomes `running` before its child is
started, and nothing else is started for a row whose child lives. So a kill between any two lines loses no search and
doubles none. One supervisor works on a database: it holds a lease, as every search does for its study.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from db.browse import Browser
from db.submissions import ACTIVE, Job, Submission, Submissions
from hybrid_nas.notifying import HOSTS_VARIABLE
from hybrid_nas.service.children import Child
from hybrid_nas.service.courtesy import Courtesy
from hybrid_nas.service.hiding import without_paths
from hybrid_nas.service.options import default_workers, words
from hybrid_nas.service.settings import Settings
from hybrid_nas.service.slots import Capacity, Need, fair_order, take
from nas.errors import NasError, first_line
from nas.search.loop import EXIT_INTERRUPTED
from nas.search.progress import ACTIVITY_VARIABLE
from nas.workspace import STORAGE_VARIABLE
from workers.devices import num_cores, num_gpus

logger = logging.getLogger(__name__)

LOOK_S = 0.5
"""Between two looks at rows and children."""
ASK_AGAIN_S = 60.0
"""A child that was asked to stop and has not is asked again after this time."""
ATTEMPTS = 4
"""Starts in a row without a new evaluation: the first, and three more."""
BAD_INPUT = 2
"""Exit code of a search whose options cannot be used. It is also that of one whose database was away when it began, so
that it counts from the second time on."""
SHOWN_LINES = 5
CLOSING = ("next: ", "database ", "the same command ")
"""Begin lines at the end of a search that are for a terminal: paths of this host, and what to type."""
_WROTE = re.compile(r"^wrote (.+): (trial \d+.*)$", re.MULTILINE)


class Supervisor:
    """Starts, stops and follows the children of a service, in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        submissions: Submissions,
        browser: Browser,
        check_owner: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is started yet.

        Args:
            settings: of the service.
            submissions: what is queued.
            browser: counts what was evaluated.
            check_owner: raises once another service has taken over the database; nothing is started then.
        """
        self._check_owner = check_owner
        self._settings = settings
        self._submissions = submissions
        self._browser = browser
        self._asked: dict[int, float] = {}
        self._ended = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._work, name="supervisor", daemon=True)
        self._capacity = Capacity(settings.slots, num_cores(), num_gpus())
        self._failed_looks = 0
        self._courtesy = Courtesy()

    def start(self) -> None:
        """Look once, so that states are true, and go on looking."""
        self._look_safely()
        self._thread.start()

    @property
    def works(self) -> bool:
        """Whether rows and children are looked at."""
        return self._thread.is_alive() and not self._failed_looks

    def wake(self) -> None:
        """Look now: something was submitted, or is to stop."""
        self._woken.set()

    def end(self) -> None:
        """Look no more. Children go on, and the next supervisor finds them."""
        self._ended.set()
        self._woken.set()
        self._thread.join()

    def child(self, submission: Submission) -> Child:
        """The process of a submission."""
        return Child(self._settings.folder / "searches", f"{submission.id:06d}")

    def job_child(self, job: Job) -> Child:
        """The process of a job."""
        return Child(self._settings.folder / "jobs", job.id)

    def queue(self) -> list[Submission]:
        """What waits, in the order in which it starts."""
        queued = self._submissions.all("queued")
        if not queued:
            return []
        return fair_order(queued, self._submissions.all(*ACTIVE), self._submissions.last_starts())

    def look(self) -> None:
        """Follow what runs, then start what there is room for.

        Raises:
            StudyLockedError: if another service works on the database now.
            NasError: if the database fails.
        """
        self._check_owner()
        if not self._submissions.has_work():
            return
        for submission in self._submissions.all(*ACTIVE):
            self._follow(submission)
        self._start_searches()
        self._follow_jobs()

    def _work(self) -> None:
        while not self._ended.is_set():
            self._woken.wait(LOOK_S)
            self._courtesy.pause()
            self._woken.clear()
            if not self._ended.is_set():
                self._look_safely()

    def _look_safely(self) -> None:
        """An outage of the database passes; searches wait for it themselves."""
        try:
            self.look()
            self._failed_looks = 0
        except (NasError, OSError) as error:
            self._failed_looks += 1
            if self._failed_looks == 1:
                logger.warning("the queue cannot be looked at: %s", first_line(error))
            time.sleep(LOOK_S)

    def _follow(self, submission: Submission) -> None:
        child = self.child(submission)
        if not child.is_running():
            self._asked.pop(submission.id, None)
            self._note_end(submission, child)
        elif submission.state == "stopping":
            self._ask(submission.id, child)

    def _ask(self, key: int, child: Child) -> None:
        """A second signal would cut the saving short, so it comes late."""
        now = time.monotonic()
        if now - self._asked.get(key, -ASK_AGAIN_S) < ASK_AGAIN_S:
            return
        if child.stop():
            self._asked[key] = now

    def _note_end(self, submission: Submission, child: Child) -> None:
        code = child.exit_code()
        lines = self._last_words(child)
        line = lines[-1] if lines else None
        if submission.after_stop == "queued":
            line = None  # it goes on with a larger budget: that it was interrupted is no news
        values: dict[str, Any] = {"gpus": {}, "exit_line": line, "ended": datetime.now(UTC)}
        if submission.state == "stopping" and code != 0:
            self._submissions.change(submission, state=submission.after_stop or "stopped", after_stop=None, **values)
        elif code == 0 and submission.after_stop == "queued":
            self._submissions.change(submission, state="queued", after_stop=None, **values)
        elif code == 0:
            self._submissions.change(submission, state="finished", after_stop=None, **values)
        elif code == BAD_INPUT and submission.attempts > 1:
            self._submissions.change(submission, state="failed", **values)
        elif code == EXIT_INTERRUPTED or self._may_start_again(submission):
            self._submissions.change(submission, state="queued", **values)
        else:
            values["exit_line"] = "\n".join(lines) or None
            self._submissions.change(submission, state="failed", **values)

    def _last_words(self, child: Child) -> list[str]:
        """The last lines that say how a search ended."""
        lines = child.last_lines(SHOWN_LINES + len(CLOSING))
        telling = [line for line in lines if not line.startswith(CLOSING)][-SHOWN_LINES:]
        return [without_paths(line, self._settings) for line in telling]

    def _may_start_again(self, submission: Submission) -> bool:
        """Whether it came further, or has starts left."""
        is_further = self._browser.evaluated(submission.study) > submission.evaluated_before
        return is_further or submission.attempts < ATTEMPTS

    def _start_searches(self) -> None:
        running = self._submissions.all(*ACTIVE)
        for submission in self.queue():
            needs = [(self._need(other), other.gpus) for other in running]
            gpus = take(self._capacity, self._need(submission), needs)
            if gpus is None:
                return  # whoever comes next waits, too: a small search must not pass a large one for ever
            if self._start(submission, gpus):
                running = self._submissions.all(*ACTIVE)

    def _need(self, submission: Submission) -> Need:
        if self._settings.ray_address is not None:
            return Need(0, 0.0)  # the cluster has its own
        workers = submission.options.get("workers") or default_workers(self._settings)
        share = submission.options.get("gpus_per_worker")
        if share is None:
            share = 1.0 if self._capacity.gpus else 0.0
        return Need(workers if share else min(workers, self._capacity.cores), share)

    def _start(self, submission: Submission, gpus: Mapping[str, float]) -> bool:
        child = self.child(submission)
        evaluated = self._browser.evaluated(submission.study)
        is_further = evaluated > submission.evaluated_before
        values = {
            "state": "running",
            "started": datetime.now(UTC),
            "ended": None,
            "attempts": 1 if is_further else submission.attempts + 1,
            "evaluated_before": evaluated,
            "gpus": dict(gpus),
        }
        try:
            given = words(submission.options, self._settings)
        except ValueError as error:  # pydantic's and ours: a row of another version
            self._submissions.change(submission, state="failed", exit_line=first_line(error))
            return False
        child.prepare()
        if not self._submissions.change(submission, **values):
            return False
        study = f"--study={submission.study}"
        command = [*self._settings.program, *given, study]
        environment = {**self._environment(gpus), ACTIVITY_VARIABLE: str(child.activity_file.resolve())}
        child.start(command, environment)
        logger.info("study %r of %s starts", submission.study, submission.owner)
        return True

    def _environment(self, gpus: Mapping[str, float]) -> dict[str, str]:
        environment = {**os.environ, STORAGE_VARIABLE: self._settings.storage, "PYTHONUNBUFFERED": "1"}
        environment[HOSTS_VARIABLE] = ",".join(self._settings.notify_hosts)
        if self._settings.ray_address is None and self._capacity.gpus:
            seen = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
            names = [seen[int(index)] if seen != [""] else index for index in gpus]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(names)
        return environment

    def _follow_jobs(self) -> None:
        for job in self._submissions.jobs("running"):
            if not self.job_child(job).is_running():
                self._note_job(job)
        if self._submissions.jobs("running"):
            return
        for job in self._submissions.jobs("queued")[:1]:
            if self._submissions.change_job(job, state="running"):
                self.job_child(job).start(self._job_command(job), self._environment({}))

    def _job_command(self, job: Job) -> list[str]:
        zoo = f"--zoo={self._settings.zoo}"
        given = [f"--{name}={value}" for name, value in job.options.items() if value not in (None, True, False)]
        flags = [f"--{name}" for name, value in job.options.items() if value is True]
        artifacts = [] if self._settings.artifacts is None else [f"--artifacts={self._settings.artifacts}"]
        return [*self._settings.program, job.kind, f"--study={job.study}", zoo, *artifacts, *given, *flags]

    def _note_job(self, job: Job) -> None:
        child = self.job_child(job)
        code = child.exit_code()
        if code is None:  # nobody could write down how it ended: it begins again
            self._submissions.change_job(job, state="queued")
            return
        lines = child.last_lines(SHOWN_LINES)
        values: dict[str, Any] = {"state": "finished", "ended": datetime.now(UTC)}
        written = _WROTE.search("\n".join(lines))
        if written is not None:
            values |= {"entry": Path(written[1]).name, "message": written[2]}
        if code:
            values |= {"state": "failed", "message": self._failure(job, code, lines)}
        self._submissions.change_job(job, **values)

    def _failure(self, job: Job, code: int, lines: Sequence[str]) -> str:
        """The reason for everybody who may look. The log of the service has it whole, with the paths of this host."""
        said = " / ".join(lines) or "nothing"
        logger.warning(
            "the %s of study %r, job %s, ended with %d and said: %s", job.kind, job.study, job.id, code, said
        )
        last = lines[-1] if lines else "nothing"
        reason = last.removeprefix("error: ")
        if reason == last:
            reason = f"the {job.kind} ended with code {code} and last said: {last}; ask for it again"
        return without_paths(reason, self._settings)
