"""Evaluate on long-lived Ray actors: the nas.protocols.Evaluator of a real search.

Every worker is an actor that carries the generator of workers/evaluate.py one event at a time: `start` gives the first
event, `resume` the next. One call per actor is in flight, and the pool waits for all of them with ray.wait. An actor
that dies, hangs or had a CUDA error is killed and replaced; its job is over with a retryable Failed.

Without an address a local Ray is started for this pool alone. With an address the workers join that cluster, and
closing the pool leaves it running (workers/cluster/session.py and joining.py). The nodes of a cluster come and go
(workers/cluster/nodes.py): the pool works with those that are there, up to the number of workers that was asked for.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError

from nas.errors import EvaluatorError, InvalidInputError
from nas.protocols import Calibration, Event, Failed, Job, LatencyMeasured, Notice, RungReached, Started
from nas.records import JSON, ProcessId
from nas.text import workers_text
from workers.cluster.actor import Work, Worker, training_work
from workers.cluster.failures import describe, machine_is_to_blame, reason_of
from workers.cluster.joining import join_cluster
from workers.cluster.nodes import (
    LIST_S,
    START_TIMEOUT_S,
    WORKERS_TIMEOUT_S,
    Nodes,
    difference,
    no_worker_left,
    resources,
)
from workers.cluster.session import start_local
from workers.cluster.session_processes import end_processes, session_processes
from workers.processes import signals_kept

logger = logging.getLogger(__name__)

MAX_FAILED_STARTS = 3
"""In a row, over all workers of a local Ray; then the pool gives up."""


def _unheard(text: str) -> None:
    """Nobody wants to know."""


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

    @property
    def place(self) -> str:
        """What a retry avoids: the node in a cluster, else the seat."""
        return self.node or self.name


class RayPool:
    """Workers on Ray. Construct it in the main thread: Ray's processes die with the thread that started them.

    Args:
        config: what every worker opens its data, device and target from.
        num_workers: actors, each with one CPU of Ray's and `gpus_per_worker`; in a cluster as many of them as its nodes
            have room for.
        trial_timeout_s: how long a job may compute, waiting for the device lock included, waiting for an answer
            excluded.
        ray_address: of an existing cluster ("auto" or HOST:PORT); None starts a local Ray.
        gpus_per_worker: may be a fraction; 0 reserves none, and the workers train on the CPU.
        target: the study's target fingerprint, if it is known: workers with another one are not used. Otherwise that of
            the first worker counts.
        log_file: for the workers of a local Ray.
        step: hears what is waited for, until the first calibration is done.
        make_work: gives what the workers run; called in each worker. Tests and benchmarks put something quicker in
            place of training.
        workers_timeout_s: how long to wait for a node of the cluster when no worker is left.

    Raises:
        InvalidInputError: if the numbers cannot be served, or nothing answers at the address.
        EvaluatorError: if Ray does not start, or no node of the cluster can do the work.
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
        step: Callable[[str], object] = _unheard,
        make_work: Callable[[], Work] = training_work,
        workers_timeout_s: float = WORKERS_TIMEOUT_S,
    ) -> None:
        _check(num_workers, trial_timeout_s, gpus_per_worker)
        assert not ray.is_initialized(), "one pool at a time in one process"
        self._config = config
        self._make_work = make_work
        self._wanted = num_workers
        self._step = step
        self._trial_timeout_s = trial_timeout_s
        self._workers_timeout_s = workers_timeout_s
        self._gpus = gpus_per_worker
        self._target = target
        self._failed_starts = 0
        self._closed = False
        self._seats: list[_Seat] = []
        self._queue: deque[Job] = deque()
        """Jobs without a seat: their worker was lost, and the others are busy."""
        self._lost_at: dict[int, str] = {}
        """Trial -> where it was lost last; a retry goes elsewhere if it can."""
        self._news: list[Event] = []
        """Noted while nobody asked for events."""
        self._seated = time.monotonic()
        """When there was a worker last."""
        self._listened = time.monotonic()
        """When events were asked for last."""
        self._said_seats = num_workers
        self._nodes: Nodes | None = None
        """Those of the cluster; None for a local Ray."""
        self.session_folder = ""
        """Folder of the local Ray; empty in a cluster."""
        self._log_file = str(log_file.resolve()) if log_file and ray_address is None else None
        self._step("starting Ray" if ray_address is None else f"joining the Ray cluster {ray_address}")
        if ray_address is None:
            self.session_folder = start_local(num_workers, gpus_per_worker)
        else:
            join_cluster(ray_address)
        try:
            if ray_address is not None:
                self._nodes = Nodes(gpus_per_worker, make_work, config, target)
                self._news += [Notice(line) for line in self._nodes.find_room(num_workers)]
            self._fill_seats()
            self._step(self._starting_text())
        except BaseException:
            self.close()
            raise

    @property
    def num_workers(self) -> int:
        """See Evaluator. At least one: without any worker a job waits for the next."""
        return max(1, len(self._seats))

    @property
    def session_processes(self) -> tuple[ProcessId, ...]:
        """Every process of the local Ray as of now; none in a cluster, where Ray itself ends what a dead coordinator
        left."""
        return session_processes(self.session_folder) if self.session_folder else ()

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        """See Evaluator; done on the first worker that is up, and on another if that is lost meanwhile.

        Raises:
            InvalidInputError: if every trial would run into its time limit.
        """
        calibration = None
        while calibration is None:
            self._news += self._happenings(until=time.monotonic() + 1.0)
            if ready := [seat for seat in self._seats if seat.ready]:
                self._step(self._starting_text())
                self._step(f"calibrating on {ready[0].name}: timing the slowest network, training a typical one")
                calibration = self._calibrate_on(ready[0], slowest, typical)
        if calibration.evaluation_s > self._trial_timeout_s:
            raise InvalidInputError(
                f"one evaluation takes about {calibration.evaluation_s:.0f} s here, and the time limit of a trial is "
                f"{self._trial_timeout_s:g} s; give a larger one (--trial-timeout-s), or a smaller scale"
            )
        return calibration

    def _calibrate_on(self, seat: _Seat, slowest: JSON, typical: JSON) -> Calibration | None:
        """None if the worker was lost with its node, so that another one may do it."""
        ref = seat.actor.calibrate.remote(slowest, typical)
        deadline = time.monotonic() + self._trial_timeout_s
        while not ray.wait([ref], timeout=LIST_S)[0] and time.monotonic() < deadline:
            self._news += self._tend()
        try:
            calibration: Calibration = ray.get(ref, timeout=0)
            return calibration
        except RayError as error:
            blameless = isinstance(error, ActorDiedError | ActorUnavailableError) and self._nodes is not None
            if blameless and self._failed_starts < MAX_FAILED_STARTS:
                self._failed_starts += 1
                if seat in self._seats:
                    self._news += self._lose(seat, reason_of(error))
                return None
            raise EvaluatorError(f"{seat.name} cannot evaluate this space: {reason_of(error)}") from error

    def submit(self, job: Job) -> None:
        """See Evaluator. A worker that is still starting takes the job too; a retry avoids where it was lost."""
        assert len(self._queue) + sum(seat.job is not None for seat in self._seats) < self._wanted, (
            "more jobs than workers"
        )
        self._queue.append(job)
        self._serve()

    def _serve(self) -> None:
        """Give jobs that wait to workers that have none."""
        while self._queue and (free := [seat for seat in self._seats if seat.job is None]):
            job = self._queue.popleft()
            avoided = self._lost_at.get(job.trial_number)
            seat = min(free, key=lambda seat: (seat.place == avoided, not seat.ready))
            seat.job = job
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
        """See Evaluator.

        Raises:
            EvaluatorError: also if the head of the cluster is lost, or no node came for as long as was stated.
        """
        self._forgive(time.monotonic() - self._listened)
        until = time.monotonic() + timeout_s
        events = self._news
        self._news = []
        while not events:
            events = self._happenings(until)
            if time.monotonic() >= until:
                break
        self._listened = time.monotonic()
        return events

    def _forgive(self, pause_s: float) -> None:
        """Time in which nobody listened, as while a database is away, counts against no job and no node."""
        for seat in self._seats:
            seat.deadline += pause_s
        self._seated += pause_s

    def _happenings(self, until: float) -> list[Event]:
        """What the nodes and the workers have to say; waits for it a while, at most until then."""
        events = self._tend()
        return events if events else self._arrivals(until)

    def _arrivals(self, until: float) -> list[Event]:
        if self._nodes is not None:
            until = min(until, time.monotonic() + LIST_S)
        awaited = {seat.awaited: seat for seat in self._seats if seat.awaited is not None}
        pause = max(0.0, min([until, *(seat.deadline for seat in awaited.values())]) - time.monotonic())
        arrived: list[ray.ObjectRef[Any]] = []
        if not awaited:
            time.sleep(pause)
        elif ray.wait(list(awaited), timeout=pause)[0]:
            arrived = ray.wait(list(awaited), num_returns=len(awaited), timeout=0)[0]
        late = [seat for ref, seat in awaited.items() if ref not in arrived and time.monotonic() >= seat.deadline]
        events: list[Event] = []
        for ref in arrived:
            events += self._receive(awaited[ref])
        for seat in late:
            events += self._give_up(seat)
        return events

    def _tend(self) -> list[Event]:
        """Follow the nodes of the cluster: leave those that are lost, and settle on those that came."""
        if self._nodes is None:
            return []
        events: list[Event] = [Notice(line) for line in self._nodes.refresh()]
        for seat in [seat for seat in self._seats if seat.node and not self._nodes.usable(seat.node)]:
            events += self._vacate(seat, "its node is lost or set aside")
        self._fill_seats()
        if self._seats:
            self._seated = time.monotonic()
        elif time.monotonic() - self._seated > self._workers_timeout_s:
            raise no_worker_left(self._workers_timeout_s, self._nodes.problems)
        if len(self._seats) != self._said_seats:
            self._said_seats = len(self._seats)
            events.append(Notice(self._count_text()))
        return events

    def _starting_text(self) -> str:
        ready = sum(seat.ready for seat in self._seats)
        return f"starting {workers_text(self._wanted)}: {ready} of {len(self._seats)} ready"

    def _count_text(self) -> str:
        if self._seats:
            return f"the search goes on with {len(self._seats)} of {self._wanted} workers"
        return f"no worker is left; waiting up to {self._workers_timeout_s:g} s for a node of the cluster"

    def activities(self) -> Mapping[str, str]:
        """See Evaluator."""
        return {seat.name: seat.doing for seat in self._seats}

    def close(self) -> None:
        """See Evaluator. A local Ray is ended process by process and its folder removed; a cluster goes on without our
        actors."""
        if self._closed:
            return
        self._closed = True
        if self._nodes is not None:
            self._nodes.close()
        processes = self.session_processes
        if ray.is_initialized():  # otherwise ray.kill would start another Ray
            for seat in self._seats:
                with suppress(RayError):
                    ray.kill(seat.actor)
        with signals_kept():
            ray.shutdown()
        if self.session_folder:
            end_processes(processes, self.session_folder)

    def _fill_seats(self) -> None:
        """Start workers where there is room, up to the number that is wanted."""
        while len(self._seats) < self._wanted:
            node = None
            if self._nodes is not None:
                node = self._nodes.roomiest(seat.node for seat in self._seats if seat.node)
                if node is None:
                    break
            self._seats.append(self._new_seat(node))
        self._serve()

    def _new_seat(self, node: str | None) -> _Seat:
        taken = {seat.name for seat in self._seats}
        name = next(name for index in range(self._wanted) if (name := f"worker-{index}") not in taken)
        options = resources(self._gpus, node)
        actor: Any = ray.remote(Worker).options(**options).remote(self._make_work, self._config, name, self._log_file)
        return _Seat(name, node, actor, actor.open.remote(), deadline=time.monotonic() + START_TIMEOUT_S)

    def _vacate(self, seat: _Seat, reason: str) -> list[Event]:
        """Give up the worker; a job that had begun is over, one that had not waits for another worker."""
        logger.warning("%s is given up: %s", seat.name, reason)
        ray.kill(seat.actor)
        self._seats.remove(seat)
        job = seat.job
        if job is None:
            return []
        if not seat.ready:
            self._queue.appendleft(job)
            return []
        self._lost_at[job.trial_number] = seat.place
        return [Failed(job.trial_number, seat.name, reason, retryable=True)]

    def _expect(self, seat: _Seat, ref: ray.ObjectRef[Any], within_s: float, doing: str) -> None:
        seat.awaited = ref
        seat.deadline = time.monotonic() + within_s
        seat.doing = doing

    def _begin(self, seat: _Seat, job: Job) -> None:
        seat.left_s = self._trial_timeout_s
        doing = "scoring without training" if job.proxies else f"trial {job.trial_number}: started"
        self._expect(seat, seat.actor.start.remote(job), seat.left_s, doing)

    def _receive(self, seat: _Seat) -> list[Event]:
        """Take what the worker of the seat sent.

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
        if isinstance(event, Failed) and event.retryable:
            return self._lose(seat, event.reason)
        self._note(seat, event)
        return [event]

    def _raised(self, seat: _Seat, error: Exception) -> list[Event]:
        """The code in the worker raised an exception; the worker itself is alive."""
        if not seat.ready and self._nodes is None and isinstance(error, InvalidInputError):
            raise EvaluatorError(f"{seat.name} cannot work: {error}") from error
        if not seat.ready or machine_is_to_blame(error):
            return self._lose(seat, describe(error))
        assert seat.job is not None
        failed = Failed(seat.job.trial_number, seat.name, describe(error), retryable=False)
        self._note(seat, failed)
        return [failed]

    def _note(self, seat: _Seat, event: Event) -> None:
        """Follow the job of the seat through its event."""
        match event:
            case LatencyMeasured():
                seat.doing = f"trial {event.trial_number}: timed, {event.latency.median_ms:.3g} ms"
            case RungReached(last=False):
                seat.doing = f"trial {event.trial_number}: rung {event.score.rung}, top1 {event.score.top1:.3f}"
            case RungReached():
                doing = f"trial {event.trial_number}: finishing"
                self._expect(seat, seat.actor.resume.remote(True), seat.left_s, doing)
            case _:
                seat.job = None
                seat.doing = "idle"
                if self._nodes is not None and seat.node is not None:
                    self._nodes.note_success(seat.node)
                self._serve()

    def _welcome(self, seat: _Seat, fingerprint: JSON | None) -> list[Event]:
        """A new actor is up, and begins with the job that waits for it.

        Raises:
            EvaluatorError: if the timings of a local one could not be compared with the study's.
        """
        expected = self._target if self._nodes is None else self._nodes.target
        if expected and fingerprint != expected:
            problem = f"{seat.name} cannot time for this study: {difference(expected, fingerprint)}"
            if self._nodes is None:
                raise EvaluatorError(problem)
            return self._lose(seat, problem)
        self._target = expected or fingerprint
        seat.ready = True
        seat.doing = "idle"
        self._failed_starts = 0
        if seat.job is None:
            return []
        self._begin(seat, seat.job)
        return [Started(seat.job.trial_number, seat.name)]

    def _give_up(self, seat: _Seat) -> list[Event]:
        seat.awaited = None
        return self._lose(seat, f"no result within {self._trial_timeout_s if seat.ready else START_TIMEOUT_S:g} s")

    def _lose(self, seat: _Seat, reason: str) -> list[Event]:
        """The actor of the seat is of no use any more; another one takes its place, in a cluster where there is room.

        Raises:
            EvaluatorError: if new ones of a local Ray have not come up several times in a row.
        """
        if self._nodes is None and not seat.ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise EvaluatorError(f"workers do not start: {reason}")
        events = self._vacate(seat, reason)
        if self._nodes is not None and seat.node is not None:
            lines = self._nodes.note_loss(seat.node, reason, started=seat.ready)
            events += [Notice(line) for line in lines]
        self._fill_seats()
        return events


def _check(num_workers: int, trial_timeout_s: float, gpus_per_worker: float) -> None:
    if num_workers < 1:
        raise InvalidInputError(f"{num_workers} workers were asked for; expected 1 or more")
    if not trial_timeout_s > 0:
        raise InvalidInputError(f"the time limit of a trial is {trial_timeout_s} s; expected more than 0")
    if gpus_per_worker < 0:
        raise InvalidInputError(f"{gpus_per_worker} GPUs per worker were asked for; expected 0, a fraction, or more")
