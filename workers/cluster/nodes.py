"""The nodes of a cluster: who is there now, who can do the work, and whether the head still answers.

Nodes come and go while a search runs. A thread lists them, because a head that hangs would hang the caller; every node
that appears is probed once by the work itself. A node that Ray has given up never comes back under its id: the same
machine is then a new node.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray._private import state as ray_state
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.errors import EvaluatorError
from nas.records import JSON
from nas.text import workers_text
from workers.cluster.actor import Work
from workers.cluster.failures import reason_of
from workers.devices import gpu_places

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 300.0
"""For an actor to import torch and read its data."""
LIST_S = 1.0
"""Between two listings of the nodes."""
HEAD_TIMEOUT_S = 30.0
"""After which a head that lists no nodes counts as lost. Ray itself ends a process after 60 s without its head."""
WORKERS_TIMEOUT_S = 600.0
"""How long to wait for a node when no worker is left."""
MAX_LOSSES = 3
"""Workers of a node that do not start, or lose their jobs, in a row; then it is set aside."""
POLL_S = 0.05
REST_S = 5.0
"""After a failed start, before the next on the same node: Ray lists a dead node as alive for some seconds."""
PROBE_AGAIN_S = 300.0
"""After which a node that was set aside is probed once more: its data may have been mounted meanwhile."""


@dataclass(slots=True)
class _Node:
    """What is known of a node that is alive."""

    host: str
    room: int
    """Workers that fit onto it with nothing else on it."""
    probe: ray.ObjectRef[Any] | None = None
    """Gives the fingerprint that a worker has there; None when no probe runs."""
    until: float = 0.0
    """Monotonic; when the probe or the time aside is over."""
    rests_until: float = 0.0
    """Monotonic; before it no worker is started there."""
    problem: str | None = "not probed yet"
    """Why no worker is to be there; None if one may."""
    losses: int = 0
    """In a row."""


class Nodes:
    """The nodes of the cluster that this process has joined. One thread calls it.

    Args:
        gpus: per worker.
        make_work: gives what the workers run.
        config: what every worker opens its data, device and target from.
        target: the fingerprint that every worker must have; None for that of the first node that answers.
    """

    def __init__(self, gpus: float, make_work: Callable[[], Work], config: Any, target: JSON | None) -> None:
        self.target = target
        self._gpus = gpus
        self._make_work = make_work
        self._config = config
        self._nodes: dict[str, _Node] = {}
        self._trusting = False
        """Whether a node that comes is used without a probe."""
        self._said: dict[str, str] = {}
        """Host -> what was last said about it."""
        self._own = ray.get_runtime_context().get_node_id()
        self._listing: dict[str, JSON] = {}
        self._listed = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_listing, name="nodes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listing; a thread that waits for a lost head is left behind."""
        self._closed.set()
        self._thread.join(timeout=2 * LIST_S)

    def find_room(self, num_workers: int) -> list[str]:
        """Wait until the nodes have room for all workers, or every node has shown what it can do.

        Returns:
            A line for people about each node that is not used.

        Raises:
            EvaluatorError: if none of them can do the work; the message has what is wrong with each.
        """
        while self.room < num_workers and (self._probing or not self._nodes):
            self.refresh()
            time.sleep(POLL_S)
        if not self.room:
            raise EvaluatorError(
                f"the cluster has room for 0 workers, asked for {num_workers}. {'; '.join(self.problems)}"
            )
        return [f"node not used: {problem}" for problem in self.problems]

    def require_all(self, num_workers: int) -> None:
        """Wait until every node has shown what it can do; later ones are trusted, because who calls this does not
        choose where the work is done.

        Raises:
            EvaluatorError: if one that has room for a worker cannot do the work, or none has room.
        """
        while self._probing or not self._nodes:
            self.refresh()
            time.sleep(POLL_S)
        self._trusting = True
        with_room = [node for node in self._nodes.values() if node.room]
        problems = [f"{node.host}: {node.problem}" for node in with_room if node.problem is not None]
        if problems:
            raise EvaluatorError(
                f"{len(problems)} of {len(with_room)} nodes of the cluster cannot do the work. {'; '.join(problems)}"
            )
        self.find_room(num_workers)

    def _keep_listing(self) -> None:
        while True:
            try:
                # ray.nodes() would start another Ray once this one is shut down.
                listed = ray_state.state.node_table()  # type: ignore[no-untyped-call]
            except (RayError, RuntimeError, ValueError) as error:
                logger.info("the nodes cannot be listed: %s", error)
            else:
                self._listing = {node["NodeID"]: node for node in listed if node["Alive"]}
                self._listed = time.monotonic()
            if self._closed.wait(LIST_S):
                return

    def refresh(self) -> list[str]:
        """Take in which nodes came and went and what probes found, without waiting for any.

        Returns:
            A line for people about each change.

        Raises:
            EvaluatorError: if the head, or the node on which this process runs, is lost.
        """
        listing = self._listing
        self._require_head(listing)
        news = []
        for name in [name for name in self._nodes if name not in listing]:
            news.append(self._say(self._nodes.pop(name).host, "the node is lost"))
        for name, listed in listing.items():
            if name not in self._nodes:
                self._nodes[name] = _Node(_host(listed), room_on(listed, self._gpus))
            news.append(self._follow(name, self._nodes[name]))
        return [line for line in news if line]

    def _require_head(self, listing: dict[str, JSON]) -> None:
        silent_s = time.monotonic() - self._listed
        if silent_s > HEAD_TIMEOUT_S:
            raise EvaluatorError(
                f"the head of the Ray cluster has not answered for {silent_s:.0f} s; the state is saved, and the same "
                "command continues once the cluster is back"
            )
        if self._own in self._nodes and self._own not in listing:
            raise EvaluatorError(
                "the Ray node on which this command runs is lost; the state is saved, and the same command continues "
                "once the node is back (ray start)"
            )

    def _follow(self, name: str, node: _Node) -> str | None:
        """Begin or end the probe of a node; a line if that changed something."""
        now = time.monotonic()
        if node.probe is None and node.problem is not None and now >= node.until:
            return self._begin_probe(name, node)
        if node.probe is None:
            return None
        if not ray.wait([node.probe], timeout=0)[0]:
            return self._set_aside(node, f"no answer within {START_TIMEOUT_S:g} s") if now >= node.until else None
        try:
            fingerprint = ray.get(node.probe)
        except RayError as error:
            return self._set_aside(node, reason_of(error))
        self.target = self.target or fingerprint
        if fingerprint != self.target:
            return self._set_aside(node, difference(self.target, fingerprint))
        return self._admit(node)

    def _admit(self, node: _Node) -> str | None:
        node.probe = None
        node.problem = None
        node.losses = 0
        return self._say(node.host, f"the node has room for {workers_text(node.room)}")

    def _begin_probe(self, name: str, node: _Node) -> str | None:
        if not node.room:
            return self._set_aside(node, f"no room for a worker of 1 CPU and {self._gpus:g} GPUs")
        if self._trusting:
            return self._admit(node)
        probe = ray.remote(max_calls=1)(_probe)  # its process ends with it, and gives the device's memory back
        node.probe = probe.options(**resources(self._gpus, name)).remote(self._make_work, self._config)
        node.until = time.monotonic() + START_TIMEOUT_S
        return None

    def _set_aside(self, node: _Node, problem: str) -> str | None:
        if node.probe is not None:
            ray.cancel(node.probe, force=True)
        node.probe = None
        node.problem = problem
        node.until = time.monotonic() + PROBE_AGAIN_S
        return self._say(node.host, f"the node is not used: {problem}")

    def _say(self, host: str, what: str) -> str | None:
        """The line, unless it was the last one about this host."""
        if self._said.get(host) == what:
            return None
        self._said[host] = what
        return f"{host}: {what}"

    @property
    def _probing(self) -> bool:
        """Whether some node has not yet shown what it can do."""
        return any(node.probe is not None for node in self._nodes.values())

    @property
    def room(self) -> int:
        """Workers that fit onto the nodes that can do the work."""
        return sum(node.room for node in self._nodes.values() if node.problem is None)

    @property
    def problems(self) -> list[str]:
        """What is wrong with each node that is not used."""
        return [f"{node.host}: {node.problem}" for node in self._nodes.values() if node.problem is not None]

    def usable(self, name: str) -> bool:
        """Whether a worker may be, or stay, on the node."""
        node = self._nodes.get(name)
        return node is not None and node.problem is None

    def host(self, name: str) -> str:
        """Name and address of a node, for people."""
        return self._nodes[name].host if name in self._nodes else "a node that is gone"

    def roomiest(self, taken: Iterable[str]) -> str | None:
        """The node with most room left, beside workers on `taken` (one name per worker); None if there is none."""
        used = Counter(taken)
        now = time.monotonic()
        left = {
            name: node.room - used[name]
            for name, node in self._nodes.items()
            if node.problem is None and now >= node.rests_until and node.room > used[name]
        }
        return max(left, key=lambda name: left[name]) if left else None

    def note_success(self, name: str) -> None:
        """A worker of the node did a job."""
        if name in self._nodes:
            self._nodes[name].losses = 0

    def note_loss(self, name: str, reason: str, *, started: bool) -> list[str]:
        """A worker of the node did not start, or lost its job; too many in a row set the node aside.

        The only node that is left is not set aside for lost jobs: the search itself judges these.
        """
        node = self._nodes.get(name)
        if node is None or node.problem is not None:
            return []
        node.losses += 1
        if not started:
            node.rests_until = time.monotonic() + REST_S
        if node.losses < MAX_LOSSES or (started and self.room == node.room):
            return []
        line = self._set_aside(node, f"{node.losses} workers in a row were lost, the last one: {reason}")
        return [line] if line else []


def no_worker_left(waited_s: float, problems: Sequence[str]) -> EvaluatorError:
    """What ends work that had no node for so long."""
    why = f" ({'; '.join(problems)})" if problems else ""
    return EvaluatorError(
        f"no worker is left, and no node came within {waited_s:g} s{why}; the state is saved, and the same command "
        "continues once the cluster has nodes"
    )


def room_on(node: JSON, gpus: float) -> int:
    """Workers that fit onto a node, as Ray lists it, with nothing else on it."""
    cores = int(node["Resources"].get("CPU", 0))
    return min(cores, gpu_places(int(node["Resources"].get("GPU", 0)), gpus)) if gpus else cores


def _host(node: JSON) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


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
