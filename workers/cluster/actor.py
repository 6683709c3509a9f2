"""The code of a Ray actor: carries the generator of workers/evaluate.py one event per call. Needs no Ray itself."""

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from nas.protocols import Calibration, Event, Failed, Finished, Job, NetworkScored
from nas.records import JSON
from workers.processes import loading_for_good


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker runs."""

    open: Callable[[Any, str], Any]
    """(configuration, name of the worker) -> context, once per process."""
    evaluate: Callable[[Job, Any], Generator[Event, bool, None]]
    calibrate: Callable[[JSON, JSON, Any], Calibration]
    fingerprint: Callable[[Any], JSON | None]
    """context -> what makes its timings comparable; workers that differ are not used together."""


def training_work() -> Work:
    """The real thing: workers/evaluate.py."""
    # Imported in the worker only: torch and timm take seconds, and the coordinator trains nothing.
    from workers.evaluate import EvaluationContext, calibrate, evaluate

    def fingerprint(context: EvaluationContext) -> JSON | None:
        return context.target.fingerprint(context.source.input_shape) if context.target else None

    return Work(EvaluationContext, evaluate, calibrate, fingerprint)


class Worker:
    """One worker process. Exceptions travel to the caller; the worker stays usable after them.

    Args:
        make_work: gives what to run; called in `open`.
        config: of the evaluation.
        name: of the worker in events and log lines.
        log_file: receives log records and warnings; None for nowhere.
    """

    def __init__(self, make_work: Callable[[], Work], config: Any, name: str, log_file: str | None) -> None:
        if log_file is not None:
            layout = f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s"
            logging.basicConfig(filename=log_file, level=logging.INFO, format=layout, force=True)
            logging.captureWarnings(True)
        self._make_work = make_work
        self._config = config
        self._name = name
        self._running: Generator[Event, bool, None] | None = None

    def open(self) -> JSON | None:
        """Prepare for jobs and give the fingerprint. Not done in __init__, whose errors Ray wraps beyond
        recognition."""
        with loading_for_good():
            self._work = self._make_work()
            self._context = self._work.open(self._config, self._name)
        return self._work.fingerprint(self._context)

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        """See Evaluator."""
        return self._work.calibrate(slowest, typical, self._context)

    def start(self, job: Job) -> Event:
        """The first event of a job."""
        self._running = self._work.evaluate(job, self._context)
        return self._closed_at_the_end(next(self._running))

    def resume(self, proceed: bool) -> Event:
        """The next event, after the answer to the one before."""
        assert self._running is not None, "no job is running"
        return self._closed_at_the_end(self._running.send(proceed))

    def _closed_at_the_end(self, event: Event) -> Event:
        if isinstance(event, Finished | Failed | NetworkScored):
            assert self._running is not None
            self._running.close()  # now, and not with the next job: it frees the memory of this one
            self._running = None
        return event
