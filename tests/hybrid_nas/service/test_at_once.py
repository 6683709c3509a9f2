"""Several people change one study at once: each gets an answer that is true."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from db.removal import remove_study
from hybrid_nas.service import core
from hybrid_nas.service.core import Service
from hybrid_nas.service.settings import Settings
from tests.hybrid_nas.service.server import Answer, Client, serving
from tests.recorded.record import unpack
from tests.waiting import eventually

PATH = "/studies/recorded"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Service, int]]:
    """A study that was submitted, has a record, and has ended."""
    storage = f"sqlite:///{tmp_path}/nas.db"
    unpack(tmp_path)
    settings = Settings(storage=storage, folder=tmp_path / "service", zoo=tmp_path / "zoo", program=("/bin/true",))
    with serving(settings) as (service, port):
        assert service.submissions.add("recorded", "local", {"space": "conv_only", "budget": 3, "workers": 1})
        eventually(lambda: Client(port).get(PATH).json["state"] == "finished")
        yield service, port


@pytest.fixture
def removing(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Whether a removal has begun, and may end."""
    has_begun, may_end = threading.Event(), threading.Event()

    def slow(*given: object) -> None:
        has_begun.set()
        may_end.wait(60)
        remove_study(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(core, "remove_study", slow)
    yield has_begun, may_end
    may_end.set()


@pytest.mark.parametrize(
    "second",
    [
        lambda client: client.ask("DELETE", f"{PATH}?confirm=recorded"),
        lambda client: client.post(f"{PATH}/continue"),
        lambda client: client.post(f"{PATH}/extend", {"budget": 9}),
        lambda client: client.post(f"{PATH}/exports", {}),
    ],
    ids=["delete", "continue", "extend", "export"],
)
def test_what_is_being_deleted_is_gone_for_whoever_comes_second(
    served: tuple[Service, int],
    removing: tuple[threading.Event, threading.Event],
    second: Callable[[Client], Answer],
) -> None:
    client = Client(served[1])
    has_begun, may_end = removing
    with ThreadPoolExecutor() as threads:
        first = threads.submit(client.ask, "DELETE", f"{PATH}?confirm=recorded")
        eventually(lambda: has_begun.is_set() or first.done())
        later = threads.submit(second, client)
        threads.submit(lambda: (eventually(lambda: client.get("/health").status == 200), may_end.set()))
        assert first.result().status == 204
        assert later.result().status == 404, later.result().body
    assert client.get("/studies").json["items"] == []
