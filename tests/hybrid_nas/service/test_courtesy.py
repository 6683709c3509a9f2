"""The service gives way to timings: real lock files, real holders, a real server."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from db.store import open_store
from hybrid_nas.service import courtesy, events
from hybrid_nas.service.callers import LOCAL
from hybrid_nas.service.courtesy import NICENESS, Courtesy
from hybrid_nas.service.options import SearchOptions
from hybrid_nas.service.settings import Settings
from tests.hybrid_nas.service.server import Client, serving
from tests.samples import study_record, trial
from tests.waiting import eventually
from workers.latency import device_lock

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from pathlib import Path
from workers.latency.device_lock import DeviceLock
with DeviceLock("cpu", Path(sys.argv[1])).exclusive():
    print("held", flush=True)
    time.sleep(60)
"""
Hold = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def hold(locks: Path) -> Iterator[Hold]:
    """Starts a process that times for a minute."""
    processes: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(locks)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    storage = f"sqlite:///{tmp_path}/nas.db"
    with closing(open_store(storage)) as store:
        store.create_study(study_record())
    return Settings(storage=storage, folder=tmp_path / "service", zoo=tmp_path / "zoo", program=("/bin/true",))


def test_a_request_waits_for_the_end_of_a_timing(
    settings: Settings, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courtesy, "REQUEST_S", 60.0)
    with serving(settings) as (_, port):
        holder = hold()
        done = threading.Event()

        def ask() -> None:
            assert Client(port).get("/me").status == 200
            done.set()

        asking = threading.Thread(target=ask)
        asking.start()
        assert not done.wait(0.3)
        holder.kill()
        assert done.wait(10.0), "the lock of a dead process is free"
        asking.join()


def test_a_holder_that_never_ends_delays_all_and_stops_none(
    settings: Settings, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courtesy, "REQUEST_S", 0.4)
    with serving(settings) as (_, port):
        hold()
        begun = time.monotonic()
        askers = [threading.Thread(target=Client(port).get, args=("/me",)) for _ in range(20)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert 0.4 <= time.monotonic() - begun < 20 * 0.4, "they wait side by side"


def test_a_listener_hears_of_news_after_the_timing(
    settings: Settings, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LONGEST_S", 60.0)
    heard = threading.Event()

    def listen(port: int) -> None:
        from hybrid_nas.server import Server

        told = Server.at(f"http://127.0.0.1:{port}", None).events("sample")
        assert any(event.kind == "trial" for event in told)
        heard.set()

    with serving(settings) as (service, port):
        listener = threading.Thread(target=listen, args=(port,), daemon=True)
        listener.start()
        eventually(lambda: service.recorded._known.outlines)  # it has looked once
        holder = hold()
        service.store.record("sample", trial(0, 0.5, 1.0), None)
        assert not heard.wait(1.5)
        holder.kill()
        assert heard.wait(20.0)


def test_looks_take_turns_and_without_a_timing_nobody_waits(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def wait_with(number: int) -> None:
        nonlocal looks
        gives_way = Courtesy()
        is_due = gives_way.is_due

        def counted() -> bool:
            nonlocal looks
            looks += 1
            return is_due()

        monkeypatch.setattr(gives_way, "is_due", counted)
        await asyncio.gather(*(gives_way.give_way(0.2) for _ in range(number)))

    asyncio.run(wait_with(50))
    assert looks == 50, "one look each"
    monkeypatch.setattr(courtesy, "LONGEST_S", 0.2)
    hold()
    looks = 0
    asyncio.run(wait_with(50))
    assert looks < 50 + 50 + 0.2 / courtesy.LOOK_S, "one of them looks again and again, not all"
    begun = time.monotonic()
    Courtesy().pause()
    assert 0.2 <= time.monotonic() - begun < 1.0


def test_without_a_place_for_locks_nobody_times_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_lock, "PLACES", (tmp_path / "missing",))
    assert not Courtesy().is_due()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a niceness belongs to the process")
def test_requests_have_a_low_priority_and_searches_do_not(settings: Settings) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with serving(replace(settings, program=("/bin/sh", "-c", "nice", "sh"))) as (service, _):
        options = SearchOptions(space="conv_only", budget=2, objectives="top1,macs", study="new", workers=1)
        service.submit(LOCAL, options)
        eventually(lambda: service.log("new", 10))
        assert set(service.log("new", 10)) == {str(own)}
        found = {each.name: os.getpriority(os.PRIO_PROCESS, each.native_id or 0) for each in threading.enumerate()}
    assert found["supervisor"] == found["MainThread"] == own
    serves = [niceness for name, niceness in found.items() if name.endswith("(run)")]
    assert serves == [max(own, NICENESS)]
