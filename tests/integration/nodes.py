"""Ray clusters of several nodes on one host: all on its loopback, or each in a network namespace of its own."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from workers.cluster.session_processes import SESSION_VARIABLE, end_processes, make_session_folder

RAY = Path(sys.executable).parent / "ray"
NODE_VARIABLE = "NAS_TEST_NODE"
"""Marks the processes of one node."""
QUICK = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}
"""A node that is cut off is given up after seconds, and gives itself up."""


class Cluster:
    """A head and nodes. Close it."""

    def __init__(self, head_cpus: int = 1, auth: Mapping[str, str] | None = None) -> None:
        """Start the head.

        Args:
            head_cpus: of the head.
            auth: variables of Ray's about tokens; a token that everybody has, by default.
        """
        self._folder = make_session_folder()
        self._number = 0
        users = {
            name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("RAY_")
        }
        token = {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_AUTH_MODE": "token"}
        self.users = users | (token if auth is None else dict(auth))
        """Environment of those who use it."""
        try:
            self._make_network()
            self.address = f"{self._ip(0)}:{_free_port()}"
            options = [f"--temp-dir={self._folder}/ray", "--include-dashboard=false", "--disable-usage-stats"]
            self._start_ray(0, "--head", f"--port={self.address.split(':')[1]}", f"--num-cpus={head_cpus}", *options)
        except BaseException:
            self.close()
            raise

    def start_node(self, cpus: int = 1) -> int:
        """Start another node, and give its number."""
        self._number += 1
        self._start_ray(self._number, f"--address={self.address}", f"--num-cpus={cpus}")
        return self._number

    def _start_ray(self, number: int, *options: str) -> None:
        environment = {**self.users, **QUICK, SESSION_VARIABLE: self._folder, NODE_VARIABLE: self._mark(number)}
        command = [str(RAY), "start", *options, f"--node-ip-address={self._ip(number)}"]
        command.append("--object-store-memory=100000000")
        subprocess.run(
            [*self.within(number), *command],
            env=environment,
            cwd=self._folder,
            capture_output=True,
            check=True,
            timeout=120,
        )

    def _mark(self, number: int) -> str:
        return f"{self._folder}/{number}"

    def _make_network(self) -> None:
        """All nodes are on the loopback."""

    def _ip(self, number: int) -> str:
        return f"127.0.0.{number + 1}"

    def within(self, number: int) -> list[str]:
        """What a command of that node begins with."""
        return []

    def processes(self, number: int, name: str = "") -> list[psutil.Process]:
        """The processes of a node, 0 for the head; those of one program."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                marked = process.environ().get(NODE_VARIABLE) == self._mark(number)
                if marked and process.status() != psutil.STATUS_ZOMBIE and name in " ".join(process.cmdline()[:1]):
                    found.append(process)
        return found

    def kill(self, number: int, name: str = "raylet/raylet") -> None:
        """Kill a program of a node, without warning."""
        for process in self.processes(number, name):
            process.kill()

    def close(self) -> None:
        """End every process."""
        end_processes((), self._folder)


class NamespaceCluster(Cluster):
    """Head and one node in a network namespace each, with a cable between them."""

    def _make_network(self) -> None:
        self._tag = secrets.token_hex(3)
        for number in (0, 1):
            _ip("netns", "add", self._namespace(number))
        _ip("link", "add", f"v{self._tag}0", "type", "veth", "peer", "name", f"v{self._tag}1")
        for number in (0, 1):
            cable = f"v{self._tag}{number}"
            _ip("link", "set", cable, "netns", self._namespace(number))
            inside = ("-n", self._namespace(number))
            _ip(*inside, "address", "add", f"{self._ip(number)}/24", "dev", cable)
            _ip(*inside, "link", "set", cable, "up")
            _ip(*inside, "link", "set", "lo", "up")

    def _namespace(self, number: int) -> str:
        return f"nas-{self._tag}-{min(number, 1)}"

    def _ip(self, number: int) -> str:
        return f"10.219.77.{min(number, 1) + 1}"

    def within(self, number: int) -> list[str]:
        return ["ip", "netns", "exec", self._namespace(number)]

    def plug(self, up: bool) -> None:
        """Pull the cable, or put it back."""
        _ip("-n", self._namespace(0), "link", "set", f"v{self._tag}0", "up" if up else "down")

    def close(self) -> None:
        super().close()
        for number in (0, 1):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", self._namespace(number))


def has_namespaces() -> bool:
    """Whether network namespaces can be made here."""
    if shutil.which("ip") is None:
        return False
    name = f"nas-{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        _ip("netns", "delete", name)
    return made


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, check=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
