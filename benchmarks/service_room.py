"""A real service in a folder of its own, the people who use it, and claims about it that are printed one a line."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import psutil

from db.engine import engine_kwargs
from db.store import open_store
from nas.records import COUNTED_STATES, JSON
from tests.hybrid_nas.service.server import Answer, Client

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

LAUNCH = Path(__file__).resolve().parents[1] / "launch.py"
SEARCH: JSON = {"space": "conv_only", "objectives": "top1,macs", "workers": 1}
RECIPE = {"rungs": [4], "batch_size": 32, "learning_rate": 0.01}
LOOK_S = 0.2
STORAGES = ("sqlite", "postgresql")
KEPT_FROM_US = ("NAS_STORAGE", "NAS_SERVER", "NAS_TOKEN")
"""Variables of whoever runs the script; the room has its own."""


class NotSoError(Exception):
    """A claim that does not hold."""


def claim(text: str, holds: object, found: object = "") -> None:
    """Print what is so.

    Raises:
        NotSoError: if it is not.
    """
    if not holds:
        raise NotSoError(f"{text}; found {found}")
    print(f"so      {text}", flush=True)


@contextlib.contextmanager
def verdict() -> Iterator[None]:
    """End the process with 1 at the first claim that does not hold; SIGTERM, too, ends it in order."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    except NotSoError as error:
        print(f"NOT SO  {error}", flush=True)
        sys.exit(1)


def until(text: str, holds: Callable[[], object], timeout_s: float = 1800.0) -> float:
    """Wait until it holds.

    Returns:
        Seconds that it took.

    Raises:
        NotSoError: if it does not in time.
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > timeout_s:
            raise NotSoError(f"{text}, within {timeout_s:g} s")
        time.sleep(LOOK_S)
    return time.monotonic() - began


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a token."""

    name: str
    token: str
    client: Client

    def study(self, name: str) -> Any:
        """A study as the service describes it; empty while it does not."""
        with contextlib.suppress(OSError):
            answer = self.client.get(f"/studies/{name}")
            if answer.status == 200:
                return answer.json
        return {}

    def submit(self, name: str, budget: int, **options: object) -> Answer:
        """Submit a short search."""
        return self.client.post(
            "/studies", {**SEARCH, "recipe_json": RECIPE, "study": name, "budget": budget, **options}
        )

    def order(self, name: str, verb: str, body: object = None) -> Answer:
        """Ask for a change of a study."""
        return self.client.post(f"/studies/{name}/{verb}", body)


class Room:
    """`launch.py serve` with a database and a port of its own, as a process that can be killed."""

    def __init__(self, folder: Path, storage: str, postgres: "PostgresServer | None") -> None:
        """Nothing is started yet; `postgres` is the server behind the storage, if there is one."""
        self.folder = folder
        self.storage = storage
        self.postgres = postgres
        self._environment = {name: value for name, value in os.environ.items() if name not in KEPT_FROM_US}
        self._environment["NAS_STORAGE"] = storage
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._service: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start the service; gives the seconds until it answers."""
        command = [sys.executable, str(LAUNCH), "serve", "--port", str(self.port)]
        with (self.folder / "serve.out").open("ab") as output:
            self._service = subprocess.Popen(
                command, cwd=self.folder, env=self._environment, stdout=output, stderr=output
            )
        return until("the service answers", self._answers)

    def _answers(self) -> bool:
        assert self._service is not None
        if self._service.poll() is not None:
            raise NotSoError(f"the service runs; found {(self.folder / 'serve.out').read_text()}")
        with contextlib.suppress(OSError):
            return Client(self.port).get("/health").status == 200
        return False

    def kill(self) -> None:
        """Kill the service, and nothing that it has started."""
        assert self._service is not None
        self._service.kill()
        self._service.wait()

    def launch(self, *words: str, person: Person | None = None) -> "subprocess.CompletedProcess[str]":
        """A command line, of a person who has no database where it asks the service."""
        environment = dict(self._environment)
        if person is not None:
            del environment["NAS_STORAGE"]
            environment |= {"NAS_TOKEN": person.token, "NAS_SERVER": f"http://127.0.0.1:{self.port}"}
        command = [sys.executable, str(LAUNCH), *words]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    def person(self, name: str, role: str) -> Person:
        """Somebody new, with a token from `launch.py token add`."""
        done = self.launch("token", "add", name, "--role", role)
        if done.returncode:
            raise NotSoError(f"{name} gets a token; found {done.stderr}")
        token = done.stdout.strip()
        return Person(name, token, Client(self.port, token))

    def searches(self, study: str) -> list[psutil.Process]:
        """The processes of the searches of a study, whoever started them; shells above them left out."""
        words = f"--study={study}"
        return [process for process in self._processes() if words in _words(process) and "sh" not in _words(process)]

    def close(self) -> None:
        """End everything that works in the folder."""
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(self._processes(), timeout=10)

    def _processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if _is_in(process, self.folder)]


def _is_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except psutil.Error:
        return False


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@contextlib.contextmanager
def opened_room(storage: str) -> Iterator[Room]:
    """A room with one of STORAGES, and its end."""
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="service-", ignore_cleanup_errors=True)))
        (folder / "recipe.json").write_text(json.dumps(RECIPE))
        server = None
        url = f"sqlite:///{folder}/runs/nas.db"
        if storage == "postgresql":
            server = _postgres()
            held.callback(server.stop)
            url = server.new_database()
        room = Room(folder, url, server)
        held.callback(room.close)
        yield room


def _postgres() -> "PostgresServer":
    from tests.postgres_server import PostgresServer, find_binaries, unprivileged_account

    account = unprivileged_account()
    binaries = find_binaries(account)
    if binaries is None:
        raise NotSoError("there are binaries of PostgreSQL: the package pgserver, or the system's postgresql")
    return PostgresServer(binaries, account)


def claim_whole(room: Room, study: str, budget: int) -> None:
    """Claim that a study that has ended holds its budget exactly, and nothing twice."""
    with closing(open_store(room.storage, create=False)) as store:
        facts = list(store.facts(study))
        problems = store.check_fronts(study)
        lease = store.lease(study)
    counted = [trial.arch_hash for trial in facts if trial.is_counted]
    claim(f"{study}: {budget} architectures are recorded", len(counted) == budget, len(counted))
    claim(f"{study}: none of them twice", len(set(counted)) == budget, counted)
    numbers = sorted(trial.trial_number for trial in facts if trial.is_counted)
    claim(f"{study}: Optuna holds the same trials", _optuna_trials(room.storage, study) == numbers, numbers)
    claim(f"{study}: its fronts follow from its facts", problems == [], problems)
    claim(f"{study}: nobody owns it any more", lease is None, lease)


def _optuna_trials(storage: str, study: str) -> list[int]:
    opened = optuna.storages.RDBStorage(storage, engine_kwargs=engine_kwargs(storage))
    try:
        trials = optuna.load_study(study_name=study, storage=opened).trials
    finally:
        opened.engine.dispose()
    return [trial.number for trial in trials if trial.state.name in COUNTED_STATES]
