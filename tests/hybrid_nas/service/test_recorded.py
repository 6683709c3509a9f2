"""Kept answers are those of the Python API at every moment, and are computed when something new is recorded only."""

import gzip
import http.client
import json
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from db.browse import Browser, TrialFilter
from db.removal import remove_study
from db.store import open_store
from hybrid_nas.service import glance, kept, recorded
from hybrid_nas.service.core import Service
from hybrid_nas.service.glance import _within
from hybrid_nas.service.kept import Answer, Answers
from hybrid_nas.service.settings import Settings
from nas.pareto.front import FrontKeeper
from nas.records import KeptWeights, Retiming
from nas.search import inline
from tests.hybrid_nas.service.server import Client, serving
from tests.samples import REFERENCE_POINT, TARGET, TRIALS, study_record, trial

T = TypeVar("T")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    storage = f"sqlite:///{tmp_path}/nas.db"
    with closing(open_store(storage)) as store:
        store.create_study(study_record())
        store.create_study(study_record(name="other"))
    return Settings(storage=storage, folder=tmp_path / "service", zoo=tmp_path / "zoo", program=("/bin/true",))


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, Client]]:
    monkeypatch.setattr(glance, "KEPT_S", 1e-9)
    with serving(settings) as (service, port):
        yield service, Client(port)


def outline_of(service: Service, name: str = "sample"):
    found = service.recorded.outline(name)
    assert found is not None
    return found


def test_they_follow_the_study_trial_by_trial(served: tuple[Service, Client]) -> None:
    service, client = served
    study = service.recorded.handle(outline_of(service))
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT)
    for number, facts in enumerate(TRIALS, 1):
        service.store.record("sample", facts, keeper.add(facts))
        service.store.record("other", trial(number, 0.5, 1.0), None)
        assert client.get("/studies/sample/front").json == json.loads(study.pareto().json())
        assert client.get("/studies/sample/history").json == json.loads(study.history().json())
        assert client.get("/studies/sample/trials").json["total"] == number
        assert sum(client.get("/studies/sample").json["trials"].values()) == number
    latency = trial(0, 0.5, 1.2).latency
    assert latency is not None
    service.store.record_retiming("sample", Retiming(TARGET, {0: latency}))
    [first, *_] = client.get("/studies/sample/front").json["members"]
    assert first["latency_again_ms"] == 1.2
    assert client.get("/studies/sample/front").json == json.loads(study.pareto().json())


def test_only_news_of_the_study_itself_are_read(
    served: tuple[Service, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _ = served
    reads: list[str] = []
    for name in ("order", "trials", "counts", "facts_of", "outcomes"):
        original = getattr(Browser, name)

        def counted(*args: object, name: str = name, original=original):
            reads.append(name)
            return original(*args)

        monkeypatch.setattr(Browser, name, counted)
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT)

    def look() -> list[str]:
        reads.clear()
        outline = outline_of(service)
        service.front("sample", None, final=False)
        service.history("sample", None)
        service.trials("sample", TrialFilter(), 0, 10)
        service.recorded.numbers(outline)
        return sorted(reads)

    service.store.record("sample", TRIALS[0], keeper.add(TRIALS[0]))
    everything = ["counts", "facts_of", "order", "outcomes", "trials"]
    assert look() == everything
    assert look() == []
    service.store.record("other", trial(50, 0.5, 1.0), None)
    assert look() == [], "another study's"
    assert keeper.add(TRIALS[1]) is None
    service.store.record("sample", TRIALS[1], None)
    assert look() == [name for name in everything if name != "facts_of"], "the front is the same"
    service.store.record("sample", TRIALS[2], keeper.add(TRIALS[2]))
    assert look() == everything
    assert TRIALS[0].latency is not None
    service.store.record_retiming("sample", Retiming(TARGET, {0: TRIALS[0].latency}))
    assert look() == ["counts", "facts_of", "outcomes"]


def test_pages_of_trials_say_whose_weights_are_kept(
    served: tuple[Service, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client = served
    monkeypatch.setattr(recorded, "KEPT_TEXTS", 1)
    trials = [replace(facts, weights=KeptWeights(f"weights/{facts.trial_number}", "0" * 64)) for facts in TRIALS[:3]]
    for facts in trials:
        service.store.record("sample", facts, None)

    def shown() -> list[bool]:
        pages = [client.get(f"/studies/sample/trials?offset={offset}&limit=2").json["items"] for offset in (0, 2, 0)]
        assert pages[0] == pages[2]
        assert [trial["top1"] for page in pages[:2] for trial in page] == [facts.top1 for facts in trials]
        return [trial["weights_kept"] for page in pages[:2] for trial in page]

    assert shown() == [True] * 3
    service.store.forget_weights("sample", [1])
    assert shown() == [True, False, True]
    assert client.get("/studies/sample/trials").json["items"][1]["weights_kept"] is False


def test_a_removed_study_leaves_nothing_to_the_next_of_its_name(served: tuple[Service, Client]) -> None:
    service, client = served
    facts = trial(0, 0.5, 1.0)
    service.store.record("other", facts, FrontKeeper("latency_ms", REFERENCE_POINT).add(facts))
    before = client.get("/studies/other/front").json
    assert len(client.get("/studies").json["items"]) == 2
    remove_study(service._engine, "other")
    service.recorded.forget()
    assert client.get("/studies/other/front").status == 404
    assert len(client.get("/studies").json["items"]) == 1
    service.store.create_study(study_record(name="other"))
    facts = trial(7, 0.7, 3.0)
    service.store.record("other", facts, FrontKeeper("latency_ms", REFERENCE_POINT).add(facts))
    after = client.get("/studies/other/front").json
    assert [member["trial_number"] for member in (*before["members"], *after["members"])] == [0, 7]


def test_rows_that_are_given_to_another_study_show_nothing_of_the_first(served: tuple[Service, Client]) -> None:
    service, _ = served
    known = service.recorded
    facts = trial(0, 0.5, 1.0)
    service.store.record("other", facts, FrontKeeper("latency_ms", REFERENCE_POINT).add(facts))
    first = outline_of(service, "other")
    [row] = [rank.row for rank in known._order(first, TrialFilter(), 100)]
    known.trials(first, TrialFilter(), 0, 10)
    known.history(first, None)
    remove_study(service._engine, "other")  # and nobody has forgotten it yet
    service.store.create_study(study_record("macs", "next"))
    facts = trial(7, 0.7, 3.0)
    service.store.record("next", facts, FrontKeeper("macs", REFERENCE_POINT).add(facts))
    for kept_weights in ((), (row,)):
        assert known._texts(first, [row], kept_weights), "by a thread that is late"
    [shown] = service.trials("next", TrialFilter(), 0, 10).json["items"]
    assert (shown["number"], shown["top1"], shown["cost"]) == (7, 0.7, facts.costs.macs)
    follows = known.handle(outline_of(service, "next"))
    assert service.history("next", None).json == json.loads(follows.history().json())


class Late:
    """A thread that has read something of a moment, and is held before it says what it found."""

    def __init__(self, work: Callable[[], object], seen: dict[Hashable, Any]) -> None:
        self._has_read = threading.Event()
        self._may_go_on = threading.Event()
        self._thread = threading.Thread(target=_within, args=(seen, work), name="late")

    def holding(self, read: Callable[..., T]) -> Callable[..., T]:
        """The same reader; the first time that the thread uses it, it is held."""

        def held(*args: Any) -> T:
            found = read(*args)
            if threading.current_thread() is self._thread and not self._has_read.is_set():
                self._has_read.set()
                assert self._may_go_on.wait(60.0)
            return found

        return held

    def read(self) -> None:
        """Go on until it has read."""
        self._thread.start()
        assert self._has_read.wait(60.0)

    def end(self) -> None:
        """Go on to the end."""
        self._may_go_on.set()
        self._thread.join()


@pytest.mark.parametrize("what", ["history", "numbers"])
def test_a_thread_that_is_late_makes_nothing_count_twice(
    served: tuple[Service, Client], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    service, _ = served
    known = service.recorded
    outline = outline_of(service)
    work = partial(known.history, outline, None) if what == "history" else partial(known.numbers, outline)
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT)
    *before, last = TRIALS
    for facts in before:
        service.store.record("sample", facts, keeper.add(facts))
    seen: dict[Hashable, Any] = {}
    late = Late(work, seen)
    monkeypatch.setattr(known._browser, "stamp", late.holding(known._browser.stamp))
    late.read()
    service.store.record("sample", last, keeper.add(last))
    _within(seen, work)
    late.end()
    work()
    found = work()
    known.forget()
    assert found == work()


def test_a_thread_that_is_late_hides_no_study_that_came_after_a_removal(served: tuple[Service, Client]) -> None:
    service, _ = served
    known = service.recorded
    seen: dict[Hashable, Any] = {}
    _within(seen, known.outlines)
    remove_study(service._engine, "other")
    known.forget()
    _within(seen, known.outlines)  # begun in the moment before
    service.store.create_study(study_record(name="new"))
    assert [each.name for each in _within({}, known.outlines)] == ["sample", "new"]


def test_latencies_of_a_callers_function_have_no_target_to_name(served: tuple[Service, Client]) -> None:
    service, client = served
    facts = trial(0, 0.5, 1.0)
    assert facts.latency is not None
    own = replace(facts, latency=replace(facts.latency, target=inline.TARGET))
    service.store.record("sample", own, FrontKeeper("latency_ms", REFERENCE_POINT).add(own))
    assert service.targets("sample") == []
    assert client.get("//studies/sample").status == 200
    [found] = client.get("/targets").json["items"]
    assert (found["target"], found["latency_target"]) == (inline.TARGET, None)


def test_what_the_caller_has_is_not_sent_again_and_the_rest_is_packed(served: tuple[Service, Client]) -> None:
    service, client = served
    for facts in TRIALS:
        service.store.record("sample", facts, None)
    path = "/studies/sample/trials"
    plain = client.get(path)
    packed = client.get(path, **{"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    tag = plain.headers["etag"]
    assert packed.headers["etag"] == tag
    again = client.get(path, **{"if-none-match": tag})
    assert (again.status, again.body) == (http.client.NOT_MODIFIED, b"")
    service.store.record("sample", trial(20, 0.5, 1.0), None)
    later = client.get(path, **{"if-none-match": tag})
    assert (later.status, later.json["total"]) == (200, plain.json["total"] + 1)
    script = client.get("//static/service.js")
    assert client.get("//static/service.js", **{"if-none-match": script.headers["etag"]}).status == 304


def test_what_is_kept_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_BYTES", 3 * kept.BESIDE_BYTES + 1_000)
    answers = Answers()
    made: list[int] = []

    def make(key: int) -> Answer:
        made.append(key)
        return Answer.of_json(["x" * 300])

    def ask(key: int) -> None:
        answers.get(key, 0, lambda: make(key))

    for key in (0, 1, 2, 0, 3, 0, 1):
        ask(key)
    assert made == [0, 1, 2, 3, 1], "the one that was asked for longest ago goes first"


def test_who_computes_keeps_nobody_waiting_who_asks_something_else() -> None:
    answers = Answers()

    def make(depth: int) -> Answer:
        return answers.get(depth, 0, lambda: make(depth + 1)) if depth < 200 else Answer.of_json(depth)

    assert make(0).json == 200
    assert not answers._computing, "nobody waits any more"


def test_one_of_many_computes() -> None:
    import threading

    answers = Answers()
    made: list[int] = []
    begun = threading.Barrier(8)

    def make() -> Answer:
        made.append(0)
        return Answer.of_json(made)

    def ask() -> None:
        begun.wait()
        answers.get("key", 0, make)

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert made == [0]
