"""Evaluate on long-lived Ray actors: the nas.protocols.Evaluator of a real search, and the only file of the search that knows Ray.

Every worker is an actor that carries the generator of workers/evaluate.py one event at a time: `start` gives the first event, `resume` the
next. One call per actor is in flight, and the pool waits for all of them with ray.wait. An actor that dies, hangs or had a CUDA error is
killed and replaced; its job is over with a retryable Failed.

Without an address a local Ray is started for this pool alone: no dashboard, no usage statistics, a random token, a folder of its own under
the host's temporary files. With an address the workers join that cluster, and closing the pool leaves it running.
"""

import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private import utils as ray_utils
from ray._private import worker as ray_worker
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.errors import EvaluatorError, InvalidInputError
from nas.protocols import Calibration, Event, Failed, Job, LatencyMeasured, RungReached
from nas.records import JSON, ProcessId
from workers.processes import (
    SESSION_VARIABLE,
    end_abandoned_sessions,
    end_processes,
    environment,
    make_session_folder,
    session_processes,
    signals_kept,
)
from workers.ray_worker import Work, Worker, training_work

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 300.0
"""For an actor to import torch and read its data."""
MAX_FAILED_STARTS = 3
"""In a row, over all workers; then the pool gives up."""
OBJECT_STORE_BYTES = 200 * 2**20
"""Only trained weights pass through it; larger ones spill into the session's folder."""

CONNECT_TIMEOUT_S = 5.0
INIT_ERRORS = (RuntimeError, ValueError, OSError, RayError)
"""What ray.init raises when it cannot do what it was asked for."""

_ROOT = Path(__file__).resolve().parents[1]
_TOKEN = secrets.token_hex(32)  # one per process, because Ray reads it once per process


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
    """Of the time that the job may still compute."""
    doing: str = "starting"
    failed_trial: int | None = None
    """The latest trial that was lost here; a retry goes elsewhere if it can."""


class RayPool:
    """Workers on Ray. Construct it in the main thread: Ray's processes die with the thread that started them.

    Args:
        config: what every worker opens its data, device and target from.
        num_workers: actors, each with one CPU of Ray's and `gpus_per_worker`.
        trial_timeout_s: how long a job may compute, waiting for the device lock included, waiting for an answer excluded.
        ray_address: of an existing cluster ("auto" or HOST:PORT); None starts a local Ray.
        gpus_per_worker: may be a fraction; 0 hides the GPUs from the workers.
        target: the study's target fingerprint, if it is known: workers with another one are not used. Otherwise that of the first
            worker counts.
        log_file: for the workers of a local Ray.
        make_work: gives what the workers run; called in each worker. Tests and benchmarks put something quicker in place of training.

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
        self._config, self._make_work = config, make_work
        self._trial_timeout_s = trial_timeout_s
        self._gpus = gpus_per_worker
        self._target = target
        self._failed_starts = 0
        self._closed = False
        self._seats: list[_Seat] = []
        self.session_folder = ""
        """Of the local Ray; empty in a cluster."""
        if ray_address is None:
            self.session_folder = _start_local(num_workers, gpus_per_worker)
            self._log_file = str(log_file.resolve()) if log_file else None
            nodes: list[str | None] = [None] * num_workers
        else:
            _join(ray_address)
            self._log_file = None
            nodes = []
        try:
            nodes = nodes or list(self._find_nodes(num_workers))
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
        """Every process of the local Ray as of now; none in a cluster, where Ray itself ends what a dead coordinator left."""
        return session_processes(self.session_folder) if self.session_folder else ()

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        """See Evaluator; done on the first worker that is up."""
        while not (ready := [seat for seat in self._seats if seat.ready]):
            self.events(timeout_s=1.0)
        try:
            calibration: Calibration = ray.get(ready[0].actor.calibrate.remote(slowest, typical), timeout=self._trial_timeout_s)
        except RayError as error:
            raise EvaluatorError(f"{ready[0].name} cannot evaluate this space: {_reason(error)}") from error
        return calibration

    def submit(self, job: Job) -> None:
        """See Evaluator. A worker that is still starting takes the job too; a retry avoids the worker that lost it."""
        free = [seat for seat in self._seats if seat.job is None]
        assert free, "more jobs than workers"
        seat = min(free, key=lambda seat: (seat.failed_trial == job.trial_number, not seat.ready))
        seat.job, seat.left_s = job, self._trial_timeout_s
        if seat.ready:
            self._begin(seat, job)

    def answer(self, trial_number: int, proceed: bool) -> None:
        """See Evaluator."""
        (seat,) = (seat for seat in self._seats if seat.job is not None and seat.job.trial_number == trial_number)
        assert seat.ready and seat.awaited is None, f"trial {trial_number} waits for no answer"
        self._expect(seat, seat.actor.resume.remote(proceed), seat.left_s, f"trial {trial_number}: {'training' if proceed else 'stopping'}")

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
        """See Evaluator. A local Ray is ended process by process and its folder removed; a cluster goes on without our actors."""
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
        options = _resources(self._gpus, node)
        actor: Any = ray.remote(Worker).options(**options).remote(self._make_work, self._config, name, self._log_file)
        return actor, actor.open.remote()

    def _replace(self, seat: _Seat) -> None:
        """A fresh actor for the seat; a job that had begun is gone, one that had not stays."""
        ray.kill(seat.actor)
        if seat.ready and seat.job is not None:
            seat.failed_trial, seat.job = seat.job.trial_number, None
        seat.ready, seat.doing = False, "starting again"
        seat.actor, seat.awaited = self._start_actor(seat.name, seat.node)
        seat.deadline = time.monotonic() + START_TIMEOUT_S

    def _expect(self, seat: _Seat, ref: ray.ObjectRef[Any], within_s: float, doing: str) -> None:
        seat.awaited, seat.deadline, seat.doing = ref, time.monotonic() + within_s, doing

    def _begin(self, seat: _Seat, job: Job) -> None:
        self._expect(seat, seat.actor.start.remote(job), seat.left_s, f"trial {job.trial_number}: started")

    def _receive(self, seat: _Seat) -> Event | None:
        """Take what the worker of the seat sent; None if that is nothing for the caller.

        Raises:
            EvaluatorError: if a new worker finds something wrong that no other one would find right.
        """
        ref, seat.awaited = seat.awaited, None
        assert ref is not None
        seat.left_s = seat.deadline - time.monotonic()
        try:
            received = ray.get(ref)
        except RayTaskError as error:
            logger.warning("%s: %s", seat.name, error)  # with its traceback
            return self._raised(seat, error.cause)
        except RayError as error:
            return self._lose(seat, _reason(error))
        if not seat.ready:
            self._welcome(seat, received)
            return None
        event: Event = received
        self._note(seat, event)
        return event

    def _raised(self, seat: _Seat, error: Exception) -> Event | None:
        """The code in the worker raised an exception; the worker itself is alive."""
        if seat.ready and seat.job is not None:
            failed = Failed(seat.job.trial_number, seat.name, _describe(error), retryable=_machine_is_to_blame(error))
            self._note(seat, failed)
            return failed
        if isinstance(error, InvalidInputError):
            raise EvaluatorError(f"{seat.name} cannot work: {error}") from error
        return self._lose(seat, _describe(error))

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
                seat.job, seat.doing = None, "idle"

    def _welcome(self, seat: _Seat, fingerprint: JSON | None) -> None:
        """A new actor is up.

        Raises:
            EvaluatorError: if its timings could not be compared with the study's.
        """
        self._target = self._target or fingerprint
        if fingerprint != self._target:
            raise EvaluatorError(f"{seat.name} cannot time for this study: {_difference(self._target, fingerprint)}")
        seat.ready, seat.doing, self._failed_starts = True, "idle", 0
        if seat.job is not None:
            self._begin(seat, seat.job)

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

    def _find_nodes(self, num_workers: int) -> Iterator[str]:
        """Choose a node of the cluster for each worker, spread evenly over those that can do the work and hold comparable devices.

        Raises:
            EvaluatorError: if they have not room for all workers; the message has what was wrong with each node.
        """
        probe = ray.remote(max_calls=1)(_probe)  # its process ends with it, and gives the device's memory back
        problems, room = [], {}
        nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        probes = {probe.options(**_resources(self._gpus, node)).remote(self._make_work, self._config): node for node in nodes}
        for ref, node in probes.items():
            name = nodes[node]["NodeManagerHostname"]
            try:
                fingerprint = ray.get(ref, timeout=START_TIMEOUT_S)
            except RayError as error:
                problems.append(f"{name}: {_reason(error)}")
                continue
            self._target = self._target or fingerprint
            if fingerprint == self._target:
                resources = nodes[node]["Resources"]
                room[node] = int(min(resources.get("CPU", 0), resources.get("GPU", 0) / self._gpus if self._gpus else math.inf))
            else:
                problems.append(f"{name}: {_difference(self._target, fingerprint)}")
        if sum(room.values()) < num_workers:
            raise EvaluatorError(f"the cluster has room for {sum(room.values())} workers, asked for {num_workers}. {'; '.join(problems)}")
        for problem in problems:
            logger.warning("node not used: %s", problem)
        for _ in range(num_workers):
            node = max(room, key=lambda node: room[node])
            room[node] -= 1
            yield node


def default_num_workers() -> int:
    """One per GPU, else one per core that this process may use."""
    return _num_gpus() or len(os.sched_getaffinity(0))


def default_gpus_per_worker(num_workers: int) -> float:
    """The largest share, at most a whole GPU, with which all workers find a place; 0 without a GPU."""
    gpus = _num_gpus()
    return 1 / max(1, math.ceil(num_workers / gpus)) if gpus else 0.0


def _num_gpus() -> int:
    import torch  # here, because only this needs it

    return torch.cuda.device_count()


def _probe(make_work: Callable[[], Work], config: Any) -> JSON | None:
    work = make_work()
    return work.fingerprint(work.open(config, "probe"))


def _check(num_workers: int, trial_timeout_s: float, gpus_per_worker: float) -> None:
    if num_workers < 1:
        raise InvalidInputError(f"{num_workers} workers were asked for; expected 1 or more")
    if not trial_timeout_s > 0:
        raise InvalidInputError(f"the time limit of a trial is {trial_timeout_s} s; expected more than 0")
    if gpus_per_worker < 0:
        raise InvalidInputError(f"{gpus_per_worker} GPUs per worker were asked for; expected 0, a fraction, or more")


def _resources(gpus: float, node: str | None) -> dict[str, Any]:
    place = {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id=node, soft=False)} if node else {}
    return {"num_cpus": 1, "num_gpus": gpus, **place}


def _machine_is_to_blame(error: Exception) -> bool:
    """Whether the same job may succeed on another worker: errors of the system, and CUDA's, which torch raises as RuntimeErrors."""
    cuda = isinstance(error, RuntimeError) and any(library in str(error) for library in ("CUDA", "cuDNN", "CUBLAS"))
    return cuda or isinstance(error, OSError | MemoryError)


def _describe(error: BaseException) -> str:
    """One line for a database row and a terminal."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}"[:500] if lines else type(error).__name__


def _reason(error: RayError) -> str:
    """What happened to a worker, in one line."""
    if isinstance(error, RayTaskError):
        return _describe(error.cause)
    if isinstance(error, GetTimeoutError):
        return "no result in time"
    detail = str(error).partition("Worker exit detail: ")[2].partition(" Some common causes")[0]
    return f"the worker process died ({detail})" if detail else _describe(error)


def _difference(expected: JSON | None, found: JSON | None) -> str:
    expected, found = expected or {}, found or {}
    return ", ".join(f"{key} is {found.get(key)!r}, expected {value!r}" for key, value in expected.items() if found.get(key) != value)


def _start_local(num_workers: int, gpus_per_worker: float) -> str:
    """Start a Ray for this process alone and return its folder.

    Raises:
        InvalidInputError: if this host has not the GPUs.
        EvaluatorError: if Ray does not start.
    """
    gpus = num_workers * gpus_per_worker
    if gpus and gpus > _num_gpus():
        raise InvalidInputError(f"{num_workers} workers need {gpus:g} GPUs, and torch sees {_num_gpus()}; ask for fewer workers")
    end_abandoned_sessions()
    folder = make_session_folder()
    variables = {
        SESSION_VARIABLE: folder,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])),
        # With a token at hand and the mode unset, Ray demands the token from everybody. (Without one it would write its own into the home.)
        "RAY_AUTH_TOKEN": _TOKEN,
        "RAY_AUTH_MODE": None,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    try:
        with environment(variables), signals_kept():
            _init(
                address="local",
                num_cpus=num_workers,
                num_gpus=math.ceil(gpus),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=f"{folder}/ray",  # Ray opens its own folder to everybody; ours, above it, stays private
            )
    except BaseException as error:
        with signals_kept():
            ray.shutdown()
        end_processes((), folder)
        if isinstance(error, INIT_ERRORS):
            raise EvaluatorError(f"a local Ray does not start: {_describe(error)}") from error
        raise
    return folder


def _join(address: str) -> None:
    """Connect to an existing cluster and ship our packages to it.

    Raises:
        InvalidInputError: if nothing answers there.
    """
    expected = "expected auto or HOST:PORT of a running cluster, on one of whose nodes this command runs"
    host, colon, port = address.rpartition(":")
    if address != "auto" and not (colon and port.isdecimal() and "/" not in host):
        raise InvalidInputError(f"Ray address {address!r} is no address; {expected}")
    packages = [str(_ROOT / name) for name in ("nas", "search_spaces", "workers")]
    try:
        if address != "auto":
            socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()  # Ray itself tries for minutes
        with signals_kept():
            _init(address=address, runtime_env={"py_modules": packages, "excludes": ["**/__pycache__"]})
    except INIT_ERRORS as error:
        raise InvalidInputError(f"no Ray cluster can be joined at {address!r} ({_describe(error)}); {expected}") from error


def _init(**arguments: Any) -> None:
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # errors reach us as exceptions; those nobody waits for any more are no news
    # Messages about dead workers would go to stdout, through our progress display, with log_to_driver=False too.
    ray_worker.print_to_stdstream = _log_message
    # Ray records the command line of its driver, and ours may hold the password of a storage URL.
    ray_utils.get_entrypoint_name = lambda: "launch.py"
    # Ray's handler would exit in the middle of its own start, and nobody would say how to go on.
    ray_utils.set_sigterm_handler = lambda handler: None
    ray.init(log_to_driver=False, configure_logging=False, **arguments)


def _log_message(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    """Takes the place of a function of Ray's, hence the parameters."""
    for line in data["lines"]:
        logger.info("ray %s: %s", data["pid"], line)
