"""Ray for a search: start one for this process alone, or join a cluster and choose its nodes.

A local Ray has no dashboard, sends no usage statistics, wants a random token and keeps to a folder of its own under the
host's temporary files.
"""

import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray._private import utils as ray_utils
from ray._private import worker as ray_worker
from ray.exceptions import RayError
from ray.job_config import JobConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.errors import EvaluatorError, InvalidInputError
from nas.records import JSON
from workers.cluster.actor import Work
from workers.cluster.failures import describe, reason_of
from workers.cluster.session_processes import (
    SESSION_VARIABLE,
    end_abandoned_sessions,
    end_processes,
    make_session_folder,
)
from workers.devices import gpu_places, num_gpus, require_gpus
from workers.processes import environment, signals_kept

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 300.0
"""For an actor to import torch and read its data."""
OBJECT_STORE_BYTES = 200 * 2**20
"""Only trained weights pass through it; larger ones spill into the session's folder."""
CONNECT_TIMEOUT_S = 5.0
INIT_ERRORS = (RuntimeError, ValueError, OSError, RayError)
"""What ray.init raises when it cannot do what it was asked for."""

_ROOT = Path(__file__).resolve().parents[2]
_TOKEN = secrets.token_hex(32)  # one per process, because Ray reads it once per process


def start_local(num_workers: int, gpus_per_worker: float) -> str:
    """Start a Ray for this process alone and return its folder.

    Raises:
        InvalidInputError: if this host has not the GPUs.
        EvaluatorError: if Ray does not start.
    """
    if gpus_per_worker:
        require_gpus(num_workers, gpus_per_worker)
    end_abandoned_sessions()
    folder = make_session_folder()
    variables = {
        SESSION_VARIABLE: folder,
        # With a token at hand and the mode unset, Ray demands the token from everybody. (Without one it would write its
        # own into the home.)
        "RAY_AUTH_TOKEN": _TOKEN,
        "RAY_AUTH_MODE": None,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    try:
        with environment(variables), signals_kept():
            _init(
                path=[os.path.abspath(entry) for entry in sys.path],
                address="local",
                num_cpus=num_workers,
                num_gpus=num_gpus() if gpus_per_worker else 0,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=f"{folder}/ray",  # Ray opens its own folder to everybody; ours, above it, stays private
            )
    except BaseException as error:
        with signals_kept():
            ray.shutdown()
        end_processes((), folder)
        if isinstance(error, Exception):  # a host that is too busy gives a bare one
            raise EvaluatorError(f"a local Ray does not start: {describe(error)}") from error
        raise
    return folder


def join_cluster(address: str) -> None:
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
            # Ray itself tries for minutes.
            socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
        with environment(), signals_kept():
            _init(address=address, runtime_env={"py_modules": packages, "excludes": ["**/__pycache__"]})
    except INIT_ERRORS as error:
        raise InvalidInputError(
            f"no Ray cluster can be joined at {address!r} ({describe(error)}); {expected}"
        ) from error


def find_nodes(
    num_workers: int, gpus: float, make_work: Callable[[], Work], config: Any, target: JSON | None
) -> tuple[list[str], JSON | None]:
    """Choose a node of the cluster for each worker, spread evenly over those that can do the work and hold comparable
    devices.

    Args:
        gpus: per worker.
        target: the fingerprint that the devices must have; None for that of the first node.

    Returns:
        Ray's id of each worker's node, and the fingerprint of all of them.

    Raises:
        EvaluatorError: if they have not room for all workers; the message has what was wrong with each node.
    """
    problems: list[str] = []
    room: dict[str, int] = {}
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    for node, fingerprint, problem in _probe_all(nodes, gpus, make_work, config):
        target = target or fingerprint
        if problem is None and fingerprint == target:
            room[node["NodeID"]] = _room(node, gpus)
        else:
            problems.append(f"{node['NodeManagerHostname']}: {problem or difference(target, fingerprint)}")
    if sum(room.values()) < num_workers:
        raise EvaluatorError(
            f"the cluster has room for {sum(room.values())} workers, asked for {num_workers}. {'; '.join(problems)}"
        )
    for problem in problems:
        logger.warning("node not used: %s", problem)
    chosen = []
    for _ in range(num_workers):
        roomiest = max(room, key=lambda name: room[name])
        room[roomiest] -= 1
        chosen.append(roomiest)
    return chosen, target


def require_all_nodes(num_workers: int, gpus: float, make_work: Callable[[], Work], config: Any) -> None:
    """For work that Ray spreads over the cluster as it likes: whatever node has room for a worker must be able to do
    it.

    Args:
        gpus: per worker.

    Raises:
        EvaluatorError: if one of them cannot, or they have not room for all workers.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and _room(node, gpus)]  # type: ignore[no-untyped-call]
    if (room := sum(_room(node, gpus) for node in nodes)) < num_workers:
        raise EvaluatorError(f"the cluster has room for {room} workers, asked for {num_workers}; ask for fewer")
    probed = _probe_all(nodes, gpus, make_work, config)
    if problems := [f"{node['NodeManagerHostname']}: {problem}" for node, _, problem in probed if problem is not None]:
        raise EvaluatorError(
            f"{len(problems)} of {len(nodes)} nodes of the cluster cannot do the work. {'; '.join(problems)}"
        )


def _probe_all(
    nodes: Sequence[JSON], gpus: float, make_work: Callable[[], Work], config: Any
) -> Iterator[tuple[JSON, JSON | None, str | None]]:
    """Each node with the fingerprint that a worker there has, or with what is wrong there."""
    probe = ray.remote(max_calls=1)(_probe)  # its process ends with it, and gives the device's memory back
    probes = [probe.options(**resources(gpus, node["NodeID"])).remote(make_work, config) for node in nodes]
    for node, ref in zip(nodes, probes, strict=True):
        try:
            yield node, ray.get(ref, timeout=START_TIMEOUT_S), None
        except RayError as error:
            yield node, None, reason_of(error)


def _room(node: JSON, gpus: float) -> int:
    """Workers that fit onto a node with nothing else on it."""
    total = node["Resources"]
    cores = int(total.get("CPU", 0))
    return min(cores, gpu_places(int(total.get("GPU", 0)), gpus)) if gpus else cores


def _probe(make_work: Callable[[], Work], config: Any) -> JSON | None:
    work = make_work()
    return work.fingerprint(work.open(config, "probe"))


def resources(gpus: float, node: str | None) -> dict[str, Any]:
    """Ray's options of one worker; without a node Ray chooses one."""
    place = {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id=node, soft=False)} if node else {}
    return {"num_cpus": 1, "num_gpus": gpus, **place}


def difference(expected: JSON | None, found: JSON | None) -> str:
    """In what a fingerprint is not the expected one."""
    expected = expected or {}
    found = found or {}
    return ", ".join(
        f"{key} is {found.get(key)!r}, expected {value!r}" for key, value in expected.items() if found.get(key) != value
    )


class _Path(JobConfig):
    """Where the workers look for modules.

    Ray would put the current folder before everything else, where any torch.py or workers.py of the user's would
    replace ours.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        super().__init__()
        self._folders = folders

    def _get_proto_job_config(self) -> Any:
        # Each worker puts one after the other in front.
        self._py_driver_sys_path = list(reversed(self._folders))
        return super()._get_proto_job_config()  # type: ignore[no-untyped-call]


def _init(*, path: Sequence[str] = (), **arguments: Any) -> None:
    """Start or join.

    Args:
        path: folders in which the workers look for modules before they look where Python does by itself. None in a
            cluster, where ours mean nothing, and what is shipped comes first.
    """
    # Errors reach us as exceptions; those that nobody waits for any more are no news.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    # Messages about dead workers would go to stdout, through our progress display, with log_to_driver=False too.
    ray_worker.print_to_stdstream = _log_message
    # Ray records the command line of its driver, and ours may hold the password of a storage URL.
    ray_utils.get_entrypoint_name = lambda: "launch.py"
    # Ray's handler would exit in the middle of its own start, and nobody would say how to go on.
    ray_utils.set_sigterm_handler = lambda handler: None
    ray.init(log_to_driver=False, configure_logging=False, job_config=_Path(path), **arguments)


def _log_message(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    """Takes the place of a function of Ray's, hence the parameters."""
    for line in data["lines"]:
        logger.info("ray %s: %s", data["pid"], line)
