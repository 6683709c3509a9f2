"""Many listeners of one study: each hears everything once, and the study is looked at once for all of them."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from db.removal import remove_study
from db.store import open_store
from hybrid_nas.server import Server
from hybrid_nas.service import events, glance
from hybrid_nas.service.core import Service
from hybrid_nas.service.events import News
from hybrid_nas.service.settings import Settings
from nas.errors import UnavailableError
from tests.hybrid_nas.service.server import Client, serving
from tests.samples import study_record, trial
from tests.waiting import eventually

LISTENERS = 12


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, int]]:
    monkeypatch.setattr(events, "LOOK_S", 0.1)
    monkeypatch.setattr(events, "BEAT_S", 0.2)
    storage = f"sqlite:///{tmp_path}/nas.db"
    with closing(open_store(storage)) as store:
        store.create_study(study_record())
    settings = Settings(storage=storage, folder=tmp_path / "service", zoo=tmp_path / "zoo", program=("/bin/true",))
    with serving(settings) as served:
        yield served


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When somebody looked for news."""
    found: list[float] = []
    original = events._news

    def counted(*given: object) -> News:
        found.append(time.monotonic())
        return original(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(events, "_news", counted)
    return found


class Listener(threading.Thread):
    """Hears trials until it is cut."""

    def __init__(self, port: int, after: str = "") -> None:
        super().__init__(daemon=True)
        self._stream = Server.at(f"http://127.0.0.1:{port}", None).events("sample", after, silence_s=30.0)
        self.heard: list[int] = []
        self.seen = ""

    def run(self) -> None:
        try:
            for event in self._stream:
                if event.kind == "trial":
                    self.heard.append(event.data["number"])
                    self.seen = event.id
        except UnavailableError:
            pass


def test_all_hear_the_same_and_one_looks(served: tuple[Service, int], looks: list[float]) -> None:
    service, port = served
    for number in range(3):
        service.store.record("sample", trial(number, 0.5, 1.0), None)
    listeners = [Listener(port) for _ in range(LISTENERS)]
    for listener in listeners:
        listener.start()
    eventually(lambda: all(len(listener.heard) == 3 for listener in listeners))
    late = Listener(port, listeners[0].seen)
    late.start()
    time.sleep(0.3)
    looks.clear()
    begun = time.monotonic()
    time.sleep(1.0)
    assert len(looks) <= 2 * (time.monotonic() - begun) / events.LOOK_S, "not one for each listener"
    assert looks
    for number in range(3, 6):
        service.store.record("sample", trial(number, 0.5, 1.0), None)
    eventually(lambda: all(len(listener.heard) == 6 for listener in listeners) and len(late.heard) == 3)
    assert all(listener.heard == list(range(6)) for listener in listeners)
    assert late.heard == [3, 4, 5]


def test_who_is_told_of_a_trial_can_read_it(served: tuple[Service, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "KEPT_S", 1e9)
    service, port = served
    client = Client(port)
    service.store.record("sample", trial(0, 0.5, 1.0), None)
    listener = Listener(port)
    listener.start()
    eventually(lambda: listener.heard == [0])
    assert client.get("/studies/sample/trials").json["total"] == 1
    service.store.record("sample", trial(1, 0.5, 1.0), None)
    eventually(lambda: listener.heard == [0, 1])
    assert client.get("/studies/sample/trials").json["total"] == 2


def test_a_long_past_comes_in_parts(served: tuple[Service, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PART", 10)
    service, port = served
    for number in range(35):
        service.store.record("sample", trial(number, 0.5, 1.0), None)
    listener = Listener(port)
    listener.start()
    eventually(lambda: len(listener.heard) == 35)
    assert listener.heard == list(range(35))


@pytest.mark.parametrize("place", ["0-9999-0-0-0", "0-0-9999-0-0", "9-1-0-0-0", "1-1-0-9999-0"])
def test_behind_an_event_that_has_not_happened_all_is_told(served: tuple[Service, int], place: str) -> None:
    service, port = served
    service.store.record("sample", trial(0, 0.5, 1.0), None)
    listener = Listener(port, after=place)
    listener.start()
    eventually(lambda: listener.heard == [0])


def test_nobody_looks_once_nobody_listens(served: tuple[Service, int], looks: list[float]) -> None:
    service, port = served
    stream = Server.at(f"http://127.0.0.1:{port}", None).events("sample")
    service.store.record("sample", trial(0, 0.5, 1.0), None)
    assert any(event.kind == "trial" for event in stream)
    stream.close()
    eventually(lambda: not looks or time.monotonic() - looks[-1] > 5 * events.LOOK_S, 10.0)


def test_the_streams_of_a_deleted_study_end(served: tuple[Service, int]) -> None:
    service, port = served
    service.store.record("sample", trial(0, 0.5, 1.0), None)
    listener = Listener(port)
    listener.start()
    eventually(lambda: listener.heard)
    remove_study(service._engine, "sample")
    service.recorded.forget()
    listener.join(10.0)
    assert not listener.is_alive()
