"""An address that was asked before answers as the first time: what is there now, to whom may see it now."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from fastapi import Request

from db.removal import remove_study
from db.store import open_store
from db.writes import Writes
from hybrid_nas.service import glance
from hybrid_nas.service.auth import COOKIE, FAILURES
from hybrid_nas.service.core import Service
from hybrid_nas.service.courtesy import Courtesy
from hybrid_nas.service.errors import UnauthorizedError
from hybrid_nas.service.glance import Glance
from hybrid_nas.service.kept import Answer
from hybrid_nas.service.settings import Settings
from hybrid_nas.service.shortcuts import KEPT, LONGEST_ADDRESS, Shortcuts
from nas.pareto.front import FrontKeeper
from tests.hybrid_nas.service.server import Client, serving
from tests.samples import REFERENCE_POINT, TRIALS, study_record

ADDRESSES = (
    "/studies",
    "/studies?search=SAM&offset=0&limit=1",
    "/studies/sample",
    "/studies/sample/trials?sort=top1&order=desc&limit=2",
    "/studies/sample/front",
    "/studies/sample/history",
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    storage = f"sqlite:///{tmp_path}/nas.db"
    with closing(open_store(storage)) as store:
        store.create_study(study_record())
        keeper = FrontKeeper("latency_ms", REFERENCE_POINT)
        for facts in TRIALS:
            store.record("sample", facts, keeper.add(facts))
    return Settings(storage=storage, folder=tmp_path / "service", zoo=tmp_path / "zoo", program=("/bin/true",))


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, int]]:
    monkeypatch.setattr(glance, "KEPT_S", 1e-9)
    with serving(settings) as found:
        yield found


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_second_answer_is_the_first(served: tuple[Service, int], address: str) -> None:
    client = Client(served[1])
    first, second = client.get(address), client.get(address)
    assert first.status == second.status == 200
    assert first.body == second.body
    assert {**first.headers, "date": ""} == {**second.headers, "date": ""}
    again = client.get(address, **{"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_other_parameters_and_methods_are_other_requests(served: tuple[Service, int]) -> None:
    client = Client(served[1])
    assert len(client.get("/studies/sample/trials?limit=2").json["items"]) == 2
    assert len(client.get("/studies/sample/trials?limit=2").json["items"]) == 2
    assert len(client.get("/studies/sample/trials?limit=3").json["items"]) == 3
    assert client.get("/studies/sample/trials?limit=0").status == 422
    assert client.get("/studies/sample/trials?limit=0").status == 422
    for method in ("POST", "HEAD", "PUT"):
        assert client.ask(method, "/studies/sample/trials?limit=2").status == 405


def test_a_study_that_is_gone_is_gone(served: tuple[Service, int]) -> None:
    service, port = served
    client = Client(port)
    assert [client.get(address).status for address in ADDRESSES] == [200] * len(ADDRESSES)
    remove_study(service._engine, "sample")
    service.recorded.forget()
    assert [client.get(address).status for address in ADDRESSES] == [200, 200, 404, 404, 404, 404]
    assert client.get("/studies").json["total"] == 0
    assert client.get("/studies/sample/front").error["remedy"] == "the list of studies says which there are"


def test_every_caller_is_looked_at(served: tuple[Service, int]) -> None:
    service, port = served
    secret = service.tokens.add("looks", "viewer")
    looks = Client(port, secret)
    assert looks.get("/studies/sample").status == looks.get("/studies/sample").status == 200
    assert Client(port).get("/studies/sample").status == 401
    assert Client(port, "nas_wrong").get("/studies/sample").status == 401
    service.tokens.revoke("looks")
    assert looks.get("/studies/sample").status == 401


def test_without_tokens_only_this_machine_is_answered(served: tuple[Service, int]) -> None:
    client = Client(served[1])
    assert client.get("/studies/sample").status == client.get("/studies/sample").status == 200
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}, {"x-forwarded-for": "127.0.0.1"}):
        assert client.get("/studies/sample", **headers).status == 403
    assert client.get("/studies/sample").status == 200


def test_a_session_is_looked_at_as_a_token(served: tuple[Service, int]) -> None:
    service, port = served
    token = service.tokens.find(service.tokens.add("looks", "viewer"))
    assert token is not None
    session = service.tokens.begin_session(token)
    stranger = Client(port)
    statuses = [stranger.get("/studies/sample", cookie=f"{COOKIE}={session}").status for _ in range(3)]
    assert statuses == [200] * 3
    assert stranger.get("/studies/sample", cookie=f"{COOKIE}={session[:-1]}x").status == 401
    service.tokens.end_session(session)
    assert stranger.get("/studies/sample", cookie=f"{COOKIE}={session}").status == 401


def test_strangers_take_the_long_way() -> None:
    """How soon they are refused must not tell them what others asked."""

    async def look() -> list[bool]:
        shortcuts = unwritten(refused)
        await shortcuts.answer(asked("", b"one"), Answer.of_json, 0)
        found = [shortcuts.knows(asked("", secret).scope) for secret in (b"one", b"two", b"")]
        assert await shortcuts.response(asked("", b"one").scope) is None
        return [*found, shortcuts.knows(asked("", b"one").scope)]

    assert asyncio.run(look()) == [True, False, False, False]


def test_what_is_forgotten_meanwhile_takes_the_long_way() -> None:
    """Several ask at once; the first of them finds that the answer is gone."""
    answers = iter([Answer.of_json(0)])

    async def look() -> list[object]:
        shortcuts = unwritten(admitted)
        await shortcuts.answer(asked(""), lambda: next(answers))
        shortcuts._glance.end()
        one, other = asked("").scope, asked("").scope
        assert shortcuts.knows(one) and shortcuts.knows(other)
        assert await shortcuts.response(one) is None
        return await asyncio.gather(shortcuts.response(one), shortcuts.response(other))

    assert asyncio.run(look()) == [None, None]


def test_a_caller_who_is_refused_leaves_the_address_to_others(served: tuple[Service, int]) -> None:
    service, port = served
    hurries, calm = (Client(port, service.tokens.add(name, "viewer")) for name in ("hurries", "calm"))
    address = "/studies/sample/front"
    assert calm.get(address).status == hurries.get(address).status == 200
    service.tokens.revoke("hurries")
    asking = [threading.Thread(target=hurries.get, args=(address,)) for _ in range(6)]
    for thread in asking:
        thread.start()
    assert calm.get(address).status == 200
    for thread in asking:
        thread.join(timeout=10)
        assert not thread.is_alive(), "nobody waits for ever"


def test_a_wrong_token_is_counted_once(served: tuple[Service, int]) -> None:
    service, port = served
    looks = Client(port, service.tokens.add("looks", "viewer"))
    assert looks.get("/studies/sample").status == 200
    service.tokens.revoke("looks")
    statuses = [looks.get("/studies/sample").status for _ in range(FAILURES + 1)]
    assert statuses == [401] * FAILURES + [429]


def test_what_fails_takes_the_long_way() -> None:
    """There it is told, and logged where it is ours."""
    outcomes = iter([Answer.of_json(0)])

    async def look() -> tuple[object, bool]:
        shortcuts = unwritten(admitted)
        await shortcuts.answer(asked(""), lambda: next(outcomes))
        shortcuts._glance.end()
        return await shortcuts.response(asked("").scope), shortcuts.knows(asked("").scope)

    assert asyncio.run(look()) == (None, False)


def test_requests_are_counted(settings: Settings) -> None:
    with serving(replace(settings, requests_per_s=0.5)) as (service, port):
        client = Client(port, service.tokens.add("hurries", "viewer"))
        answers = [client.get("/studies/sample") for _ in range(6)]
        assert answers[0].status == 200
        assert answers[-1].status == 429
        assert int(answers[-1].headers["retry-after"]) >= 1


def test_few_and_short_addresses_are_kept() -> None:
    async def look() -> list[bool]:
        shortcuts = unwritten(refused)
        for number in range(KEPT + 1):
            await shortcuts.answer(asked(f"n={number}"), Answer.of_json, number)
        await shortcuts.answer(asked("n=" + "0" * LONGEST_ADDRESS), Answer.of_json, 0)
        queries = ("n=0", "n=1", f"n={KEPT}", "n=" + "0" * LONGEST_ADDRESS)
        return [shortcuts.knows(asked(query).scope) for query in queries]

    assert asyncio.run(look()) == [False, True, True, False]


class Unwritten:
    """A database that nobody writes to."""

    count = 0


async def refused(request: Request) -> None:
    """Nobody may ask."""
    raise UnauthorizedError("no")


async def admitted(request: Request) -> None:
    """Everybody may ask."""


def unwritten(admit: Callable[[Request], Awaitable[object]]) -> Shortcuts:
    """Shortcuts of a service whose database nobody writes to."""
    return Shortcuts(Glance(cast(Writes, Unwritten())), admit, Courtesy())


def asked(query: str, secret: bytes = b"") -> Request:
    scope = {"type": "http", "method": "GET", "path": "/api/v1/studies", "query_string": query.encode()}
    return Request({**scope, "headers": [(b"authorization", secret)]})
