"""People at the service, as benchmarks.service_load starts them: a process of its own, so that what it takes is known.

Each client has one connection on which it asks again and again, and one that listens to the events of the study.
Answers are read whole and packed by gzip, as browsers do; nothing is taken from a cache of the client.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import uvloop

from nas.records import JSON

PAGE = 50
SORTS = ("number", "top1", "latency_ms")
TIMEOUT_S = 30.0


@dataclass(slots=True)
class Seen:
    """What all clients saw."""

    taken_ms: list[tuple[str, float]] = field(default_factory=list)
    """(what was asked, milliseconds to the end of the answer)."""
    errors: Counter[str] = field(default_factory=Counter)
    events: int = 0

    def report(self) -> JSON:
        """As one JSON object, with the processor time of this process."""
        return {
            "taken_ms": self.taken_ms,
            "errors": dict(self.errors),
            "events": self.events,
            "clients_cpu_s": time.process_time(),
        }


@dataclass(frozen=True, slots=True)
class Place:
    """The service, and what is asked of it."""

    port: int
    token: str
    study: str
    trials: int
    every_s: float

    def request(self, path: str, after: str = "") -> bytes:
        """The bytes of a request below /api/v1."""
        lines = [f"GET /api/v1{path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Authorization: Bearer {self.token}"]
        lines += ["Accept-Encoding: gzip", *([f"Last-Event-ID: {after}"] if after else []), "", ""]
        return "\r\n".join(lines).encode()

    def paths(self, choose: random.Random) -> dict[str, str]:
        """What a client asks in turn: a page of trials is any of them, in any order."""
        offset = PAGE * choose.randrange(self.trials // PAGE)
        base = f"/studies/{self.study}"
        return {
            "list": "/studies",
            "study": base,
            "front": f"{base}/front",
            "trials": f"{base}/trials?offset={offset}&limit={PAGE}&sort={choose.choice(SORTS)}&order=desc",
            "history": f"{base}/history",
        }


async def ask_again_and_again(place: Place, seen: Seen, number: int) -> None:
    """One client's requests, for ever."""
    choose = random.Random(number)
    await asyncio.sleep(choose.uniform(0, place.every_s))
    asked = number
    writer = None
    while True:
        begun = time.perf_counter()
        paths = list(place.paths(choose).items())
        what, path = paths[asked % len(paths)]
        asked += 1
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
                writer.write(place.request(path))
                await _read_answer(reader)
            seen.taken_ms.append((what, 1e3 * (time.perf_counter() - begun)))
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            seen.errors[f"{what}: {type(error).__name__} {error}"] += 1
            if writer is not None:
                writer.close()
            writer = None
        await asyncio.sleep(max(0.0, begun + place.every_s - time.perf_counter()))


async def _read_answer(reader: asyncio.StreamReader) -> None:
    """Read one answer whole.

    Raises:
        ValueError: if it is not that of a request that went well.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = head.split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines if line)
    await reader.readexactly(int(fields["content-length"]))
    if status.split()[1] != "200":
        raise ValueError(status)


async def listen(place: Place, seen: Seen, after: str) -> None:
    """Count the events behind one, for ever."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
            writer.write(place.request(f"/studies/{place.study}/events", after))
            if b" 200 " not in await reader.readline():
                raise ValueError("no stream")
            while line := await reader.readline():
                seen.events += line.startswith(b"event: ")
            raise ValueError("the stream was cut")
        except (OSError, ValueError) as error:
            seen.errors[f"events: {type(error).__name__} {error}"] += 1
        await asyncio.sleep(1.0)


async def work(place: Place, clients: int, after: str) -> Seen:
    """All clients, until this process is asked to end."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    seen = Seen()
    tasks = [asyncio.create_task(ask_again_and_again(place, seen, number)) for number in range(clients)]
    tasks += [asyncio.create_task(listen(place, seen, after)) for _ in range(clients)]
    await ended.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return seen


def main() -> None:
    """Ask until SIGTERM, then print what was seen as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--study", required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--every-s", type=float, required=True)
    parser.add_argument("--after", required=True, help="Id of the last event that they know.")
    options = parser.parse_args()
    place = Place(options.port, os.environ["NAS_TOKEN"], options.study, options.trials, options.every_s)
    json.dump(uvloop.run(work(place, options.clients, options.after)).report(), sys.stdout)


if __name__ == "__main__":
    main()
