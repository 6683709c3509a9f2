"""What people at the service cost its process, part by part, without a search.

    python -m benchmarks.service_cost

Processor time of the process on a study of 10,000 trials: at rest, of a request of each kind, of a trial that is
recorded, of streams of events at rest and of telling them something. The sum is that of benchmarks.service_load: 50
clients with a request every 2 s and a stream each, while a trial ends every 5 s. Requests come one after the other on
one connection, and everything has been asked before. No answer waits for another, so that other load on the machine
changes little.
"""

import argparse
import contextlib
import http.client
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.service_clients import SORTS, Place
from benchmarks.service_load import GROWS_S, START_S, Growing, launch, place_of, started, token, until, work_s
from benchmarks.store import NUM_TRIALS, STUDY
from db.store import open_store

CLIENTS = 50
EVERY_S = 2.0
REST_S = 20.0
REQUESTS = 150
GROWTHS = 4
PATIENCE_S = 3.0
"""A connection that rested for longer is made anew, before the service closes it."""


class Asked:
    """A service, and how much its process has worked."""

    def __init__(self, process: subprocess.Popen[bytes], place: Place) -> None:
        self._pid = process.pid
        self._place = place
        self._connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=START_S)
        self._choose = random.Random(0)
        self._asked = time.monotonic()

    def close(self) -> None:
        """Ask no more."""
        self._connection.close()

    def ask(self, kind: str) -> None:
        """One request, as a client of service_load makes it."""
        if time.monotonic() - self._asked > PATIENCE_S:
            self._connection.close()
        headers = {"Authorization": f"Bearer {self._place.token}", "Accept-Encoding": "gzip"}
        self._connection.request("GET", f"/api/v1{self._place.paths(self._choose)[kind]}", headers=headers)
        response = self._connection.getresponse()
        response.read()
        self._asked = time.monotonic()
        if response.status != 200:
            raise SystemExit(f"error: {kind} answers {response.status}")

    def ask_everything(self) -> None:
        """Each kind once, and pages of trials in every order."""
        for kind in self.kinds:
            for _ in SORTS if kind == "trials" else (None,):
                self.ask(kind)

    @property
    def kinds(self) -> list[str]:
        """What can be asked."""
        return list(self._place.paths(self._choose))

    def cost_ms(self, do: Callable[[], object], times: int = 1) -> float:
        """Processor time of the process while something is done, each time."""
        before_s = work_s(self._pid)
        for _ in range(times):
            do()
        return 1e3 * (work_s(self._pid) - before_s) / times

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """A stream of events for every client meanwhile."""
        after = place_of(str(self._place.port), self._place.token)
        with contextlib.ExitStack() as opened:
            for _ in range(CLIENTS):
                stream = opened.enter_context(socket.create_connection(("127.0.0.1", self._place.port)))
                stream.sendall(self._place.request(f"/studies/{STUDY}/events", after))
            time.sleep(PATIENCE_S)
            yield


@contextlib.contextmanager
def asked(folder: Path) -> Iterator[Asked]:
    """A service over the database in a folder."""
    secret = token(folder)
    output = folder / "service.out"
    serve = launch("serve", "--port", "0", "--zoo", str(folder / "zoo"), "--requests-per-s", "1000")
    with started(serve, folder, output) as process:
        until(lambda: "serving on http://" in output.read_text(), process, output, START_S)
        port = output.read_text().partition("serving on http://127.0.0.1:")[2].partition(";")[0]
        with closing(Asked(process, Place(int(port), secret, STUDY, NUM_TRIALS, EVERY_S))) as service:
            yield service


def _grow(study: Growing, then: Callable[[], object]) -> None:
    study.add()
    then()


def measure(service: Asked, study: Growing) -> None:
    """Print every part, and what they come to in a second."""
    for _ in range(3):
        service.ask_everything()
    rest_ms = service.cost_ms(partial(time.sleep, REST_S)) / REST_S
    print(f"at rest: {rest_ms:.1f} ms a second", flush=True)
    requests_ms = []
    for kind in service.kinds:
        begun = time.monotonic()
        taken_ms = service.cost_ms(partial(service.ask, kind), REQUESTS)
        requests_ms.append(taken_ms - rest_ms * (time.monotonic() - begun) / REQUESTS)
        print(f"{kind}: {requests_ms[-1]:.2f} ms", flush=True)
    growth_ms = service.cost_ms(partial(_grow, study, service.ask_everything), GROWTHS)
    growth_ms -= service.cost_ms(service.ask_everything, GROWTHS)
    print(f"first answers after a trial: {growth_ms:.1f} ms", flush=True)
    with service.listening():
        streams_ms = service.cost_ms(partial(time.sleep, REST_S)) / REST_S - rest_ms
        print(f"{CLIENTS} streams at rest: {streams_ms:.1f} ms a second", flush=True)
        told_ms = service.cost_ms(partial(_grow, study, partial(time.sleep, GROWS_S)), GROWTHS)
        told_ms -= (rest_ms + streams_ms) * GROWS_S
        print(f"a trial told to them: {told_ms:.1f} ms", flush=True)
    asked_ms = sum(requests_ms) / len(requests_ms) * CLIENTS / EVERY_S
    whole_ms = rest_ms + asked_ms + streams_ms + (growth_ms + told_ms) / GROWS_S
    print(f"all: {whole_ms:.0f} ms a second")


def main() -> None:
    """Record the study, and measure."""
    argparse.ArgumentParser(description=__doc__.partition("\n\n")[0]).parse_args()
    with tempfile.TemporaryDirectory(prefix="nas-cost-") as name:
        folder = Path(name)
        with closing(open_store(f"sqlite:///{folder}/nas.db")) as store:
            study = Growing(store, NUM_TRIALS)
            with asked(folder) as service:
                measure(service, study)


if __name__ == "__main__":
    main()
