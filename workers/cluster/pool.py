"""Evaluate on long-lived Ray actors: the nas.protocols.Evaluator of a real search.

Every worker is an actor that carries the generator of workers/evaluate.py one event at a time: `start` gives the first
event, `resume` the next. One call per actor is in flight, and the pool waits for all of them with ray.wait. An actor
that dies, hangs or had a CUDA error is killed and replaced; its job is over with a retryable Failed.

Without an address a local Ray is started for this pool alone. With an address the workers join that cluster, and
closing the pool leaves it running. Both stand in workers/cluster/session.py.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from nas.errors import EvaluatorError, InvalidInputError
from nas.protocols import Calibration, Event, Failed, Job, LatencyMeasured, RungReached, Started
from nas.records import JSON, ProcessId
from workers.cluster.actor import Work, Worker, training_work
from workers.cluster.failures import describe, machine_is_to_blame, reason_of
from workers.cluster.session import (
    START_TIMEOUT_S,
    difference,
    find_nodes,
    join_cluster,
    resources,
    start_local,
)
from workers.cluster.session_processes import end_processes, session_processes
from workers.processes import signals_kept

logger = logging.getLogger(__name__)

MAX_FAILED_STARTS = 3
"""In a row, over all workers; then the pool gives up."""


@dataclass(slots=True)
class _Seat:
    """A place for one actor; the actor may be replaced, the seat stays."""

    name: str
    node: str | None
    """Ray's id of the node that it must stay on; None lets Ray choose."""
    actor: Any
    awaited: ray.ObjectRef[Any] | None
    """First the fingerprint of the new actor, then one event after the other; None while nothing is expected."""
    deadline: float
    """Monotonic; when waiting for `awaited` ends."""
    ready: bool = False
    job: Job | None = None
    left_s: float = 0.0
    """How long the job may still compute."""
    doing: str = "starting"
    failed_trial: int | None = None
    """The latest trial that was lost here; a retry goes elsewhere if it can."""


class RayPool:
    """Workers on Ray. Construct it in the main thread: Ray's processes die with the thread that started them.

    Args:
        config: what every worker opens its data, device and target from.
        num_workers: actors, each with one CPU of Ray's and `gpus_per_worker`.
        trial_timeout_s: how long a job may compute, waiting for the device lock included, waiting for an answer
            excluded.
        ray_address: of an existing cluster ("auto" or HOST:PORT); None starts a local Ray.
        gpus_per_worker: may be a fraction; 0 hides the GPUs from the workers.
        target: the study's target fingerprint, if it is known: workers with another one are not used. Otherwise that of
            the first worker counts.
        log_file: for the workers of a local Ray.
        make_work: gives what the workers run; called in each worker. Tests and benchmarks put something quicker in
            place of training.

    Raises:
        InvalidInputError: if the numbers cannot be served, or nothing answers at the address.
        EvaluatorError: if Ray does not start.
    """

    def __init__(
        self,
        config: Any,
        *,
        num_workers: int,
        trial_timeout_s: float,
        ray_address: str | None = None,
        gpus_per_worker: float = 0.0,
        target: JSON | None = None,
        log_file: Path | None = None,
        make_work: Callable[[], Work] = training_work,
    ) -> None:
        _check(num_workers, trial_timeout_s, gpus_per_worker)
        assert not ray.is_initialized(), "one pool at a time in one process"
        self._config = config
        self._make_work = make_work
        self._trial_timeout_s = trial_timeout_s
        self._gpus = gpus_per_worker
        self._target = target
        self._failed_starts = 0
        self._closed = False
        self._seats: list[_Seat] = []
        self.session_folder = ""
        """Folder of the local Ray; empty in a cluster."""
        self._log_file = str(log_file.resolve()) if log_file and ray_address is None else None
        nodes: Sequence[str | None] = [None] * num_workers
        if ray_address is None:
            self.session_folder = start_local(num_workers, gpus_per_worker)
        else:
            join_cluster(ray_address)
        try:
            if ray_address is not None:
                nodes, self._target = find_nodes(num_workers, gpus_per_worker, make_work, config, target)
            for index, node in enumerate(nodes):
                self._seats.append(self._new_seat(f"worker-{index}", node))
        except BaseException:
            self.close()
            raise

    @property
    def num_workers(self) -> int:
        return len(self._seats)

    @property
    def session_processes(self) -> tuple[ProcessId, ...]:
        """Every process of the local Ray as of now; none in a cluster, where Ray itself ends what a dead coordinator
        left."""
        return session_processes(self.session_folder) if self.session_folder else ()

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        """See Evaluator; done on the first worker that is up.

        Raises:
            InvalidInputError: if every trial would run into its time limit.
        """
        while not (ready := [seat for seat in self._seats if seat.ready]):
            self.events(timeout_s=1.0)
        try:
            calibration: Calibration = ray.get(
                ready[0].actor.calibrate.remote(slowest, typical), timeout=self._trial_timeout_s
            )
        except RayError as error:
            raise EvaluatorError(f"{ready[0].name} cannot evaluate this space: {reason_of(error)}") from error
        if calibration.evaluation_s > self._trial_timeout_s:
            raise InvalidInputError(
                f"one evaluation takes about {calibration.evaluation_s:.0f} s here, and the time limit of a trial is "
                f"{self._trial_timeout_s:g} s; give a larger one (--trial-timeout-s), or a smaller scale"
            )
        return calibration

    def submit(self, job: Job) -> None:
        """See Evaluator. A worker that is still starting takes the job too; a retry avoids the worker that lost it."""
        free = [seat for seat in self._seats if seat.job is None]
        assert free, "more jobs than workers"
        seat = min(free, key=lambda seat: (seat.failed_trial == job.trial_number, not seat.ready))
        seat.job = job
        seat.left_s = self._trial_timeout_s
        if seat.ready:
            self._begin(seat, job)

    def answer(self, trial_number: int, proceed: bool) -> None:
        """See Evaluator."""
        (seat,) = (seat for seat in self._seats if seat.job is not None and seat.job.trial_number == trial_number)
        assert seat.ready and seat.awaited is None, f"trial {trial_number} waits for no answer"
        self._expect(
            seat,
            seat.actor.resume.remote(proceed),
            seat.left_s,
            f"trial {trial_number}: {'training' if proceed else 'stopping'}",
        )

    def events(self, timeout_s: float) -> Sequence[Event]:
        """See Evaluator."""
        until = time.monotonic() + timeout_s
        while True:
            awaited = {seat.awaited: seat for seat in self._seats if seat.awaited is not None}
            pause = max(0.0, min([until, *(seat.deadline for seat in awaited.values())]) - time.monotonic())
            arrived: list[ray.ObjectRef[Any]] = []
            if not awaited:
                time.sleep(pause)
            elif ray.wait(list(awaited), timeout=pause)[0]:
                arrived = ray.wait(list(awaited), num_returns=len(awaited), timeout=0)[0]
            late = [seat for ref, seat in awaited.items() if ref not in arrived and time.monotonic() >= seat.deadline]
            answers = [*(self._receive(awaited[ref]) for ref in arrived), *(self._give_up(seat) for seat in late)]
            events = [event for event in answers if event is not None]
            if events or time.monotonic() >= until:
                return events

    def activities(self) -> Mapping[str, str]:
        """See Evaluator."""
        return {seat.name: seat.doing for seat in self._seats}

    def close(self) -> None:
        """See Evaluator. A local Ray is ended process by process and its folder removed; a cluster goes on without our
        actors."""
        if self._closed:
            return
        self._closed = True
        processes = self.session_processes
        if ray.is_initialized():  # otherwise ray.kill would start another Ray
            for seat in self._seats:
                with suppress(RayError):
                    ray.kill(seat.actor)
        with signals_kept():
            ray.shutdown()
        if self.session_folder:
            end_processes(processes, self.session_folder)

    def _new_seat(self, name: str, node: str | None) -> _Seat:
        actor, ready = self._start_actor(name, node)
        return _Seat(name, node, actor, awaited=ready, deadline=time.monotonic() + START_TIMEOUT_S)

    def _start_actor(self, name: str, node: str | None) -> tuple[Any, ray.ObjectRef[Any]]:
        options = resources(self._gpus, node)
        actor: Any = ray.remote(Worker).options(**options).remote(self._make_work, self._config, name, self._log_file)
        return actor, actor.open.remote()

    def _replace(self, seat: _Seat) -> None:
        """A fresh actor for the seat; a job that had begun is gone, one that had not stays."""
        ray.kill(seat.actor)
        if seat.ready and seat.job is not None:
            seat.failed_trial = seat.job.trial_number
            seat.job = None
        seat.ready = False
        seat.doing = "starting again"
        seat.actor, seat.awaited = self._start_actor(seat.name, seat.node)
        seat.deadline = time.monotonic() + START_TIMEOUT_S

    def _expect(self, seat: _Seat, ref: ray.ObjectRef[Any], within_s: float, doing: str) -> None:
        seat.awaited = ref
        seat.deadline = time.monotonic() + within_s
        seat.doing = doing

    def _begin(self, seat: _Seat, job: Job) -> None:
        self._expect(seat, seat.actor.start.remote(job), seat.left_s, f"trial {job.trial_number}: started")

    def _receive(self, seat: _Seat) -> Event | None:
        """Take what the worker of the seat sent; None if that is nothing for the caller.

        Raises:
            EvaluatorError: if a new worker finds something wrong that no other one would find right.
        """
        ref = seat.awaited
        seat.awaited = None
        assert ref is not None
        seat.left_s = seat.deadline - time.monotonic()
        try:
            received = ray.get(ref)
        except RayTaskError as error:
            logger.warning("%s: %s", seat.name, error)  # with its traceback
            return self._raised(seat, error.cause)
        except RayError as error:
            return self._lose(seat, reason_of(error))
        if not seat.ready:
            return self._welcome(seat, received)
        event: Event = received
        self._note(seat, event)
        return event

    def _raised(self, seat: _Seat, error: Exception) -> Event | None:
        """The code in the worker raised an exception; the worker itself is alive."""
        if seat.ready and seat.job is not None:
            failed = Failed(seat.job.trial_number, seat.name, describe(error), retryable=machine_is_to_blame(error))
            self._note(seat, failed)
            return failed
        if isinstance(error, InvalidInputError):
            raise EvaluatorError(f"{seat.name} cannot work: {error}") from error
        return self._lose(seat, describe(error))

    def _note(self, seat: _Seat, event: Event) -> None:
        """Follow the job of the seat through its event."""
        number = event.trial_number
        match event:
            case LatencyMeasured():
                seat.doing = f"trial {number}: timed, {event.latency.median_ms:.3g} ms"
            case RungReached(last=False):
                seat.doing = f"trial {number}: rung {event.score.rung}, top1 {event.score.top1:.3f}"
            case RungReached():
                self._expect(seat, seat.actor.resume.remote(True), seat.left_s, f"trial {number}: finishing")
            case Failed(retryable=True):
                logger.warning("%s is replaced: %s", seat.name, event.reason)
                self._replace(seat)
            case _:
                seat.job = None
                seat.doing = "idle"

    def _welcome(self, seat: _Seat, fingerprint: JSON | None) -> Event | None:
        """A new actor is up, and begins with the job that waits for it.

        Raises:
            EvaluatorError: if its timings could not be compared with the study's.
        """
        self._target = self._target or fingerprint
        if fingerprint != self._target:
            raise EvaluatorError(f"{seat.name} cannot time for this study: {difference(self._target, fingerprint)}")
        seat.ready = True
        seat.doing = "idle"
        self._failed_starts = 0
        if seat.job is None:
            return None
        self._begin(seat, seat.job)
        return Started(seat.job.trial_number, seat.name)

    def _give_up(self, seat: _Seat) -> Event | None:
        seat.awaited = None
        return self._lose(seat, f"no result within {self._trial_timeout_s if seat.ready else START_TIMEOUT_S:g} s")

    def _lose(self, seat: _Seat, reason: str) -> Event | None:
        """The actor of the seat is of no use any more.

        Raises:
            EvaluatorError: if new ones have not come up several times in a row.
        """
        logger.warning("%s is replaced: %s", seat.name, reason)
        if not seat.ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise EvaluatorError(f"workers do not start: {reason}")
        failed = Failed(seat.job.trial_number, seat.name, reason, retryable=True) if seat.ready and seat.job else None
        self._replace(seat)
        return failed


def _check(num_workers: int, trial_timeout_s: float, gpus_per_worker: float) -> None:
    if num_workers < 1:
        raise InvalidInputError(f"{num_workers} workers were asked for; expected 1 or more")
    if not trial_timeout_s > 0:
        raise InvalidInputError(f"the time limit of a trial is {trial_timeout_s} s; expected more than 0")
    if gpus_per_worker < 0:
        raise InvalidInputError(f"{gpus_per_worker} GPUs per worker were asked for; expected 0, a fraction, or more")
