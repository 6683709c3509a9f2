"""The queue with real processes: a program that ends as its study is called stands for launch.py."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.browse import Browser
from db.engine import make_engine
from db.service_tables import ensure_service_tables
from db.store import open_store
from db.submissions import Submission, Submissions
from hybrid_nas.service.children import Child
from hybrid_nas.service.settings import Settings
from hybrid_nas.service.supervisor import ATTEMPTS, Supervisor
from tests.waiting import eventually

PROGRAM = """
import os, signal, sys, time
study = next(word.partition("=")[2] for word in sys.argv if word.startswith("--study="))
with open("starts", "a") as file:
    file.write(study + "\\n")
if study.startswith("code"):
    print("last words of", study)
    sys.exit(int(study[4:].split("-")[0]))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
with open(os.environ["NAS_ACTIVITY_FILE"], "w") as file:
    file.write('{"worker 0": "trial 1: training"}')
print("ready", flush=True)
while True:
    time.sleep(0.02)
"""


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str) -> Settings:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    words = (sys.executable, "-I", str(program))
    return Settings(storage=sqlite_url, folder=tmp_path / "service", zoo=tmp_path / "zoo", slots=2, program=words)


@pytest.fixture
def submissions(settings: Settings) -> Iterator[Submissions]:
    open_store(settings.storage).close()
    engine = make_engine(settings.storage)
    ensure_service_tables(engine)
    yield Submissions(engine)
    engine.dispose()


@pytest.fixture
def browser(settings: Settings, submissions: Submissions) -> Iterator[Browser]:
    engine = make_engine(settings.storage)
    yield Browser(engine)
    engine.dispose()


@pytest.fixture
def supervisor(settings: Settings, submissions: Submissions, browser: Browser) -> Iterator[Supervisor]:
    supervisor = Supervisor(settings, submissions, browser)
    yield supervisor
    for submission in submissions.all():
        end(supervisor.child(submission))


def end(child: Child) -> None:
    def is_over() -> bool:
        child.stop()
        return not child.is_running()

    eventually(is_over)


def submit(submissions: Submissions, study: str, owner: str = "a") -> None:
    assert submissions.add(study, owner, {"space": "conv_only", "budget": 3, "workers": 1})


def one(submissions: Submissions, study: str) -> Submission:
    found = submissions.one(study)
    assert found is not None
    return found


def starts(settings: Settings) -> list[str]:
    file = settings.folder / "searches" / "starts"
    return file.read_text().split() if file.exists() else []


def look_until(supervisor: Supervisor, submissions: Submissions, study: str, state: str) -> Submission:
    def is_there() -> bool:
        supervisor.look()
        return one(submissions, study).state == state

    eventually(is_there)
    return one(submissions, study)


@pytest.mark.parametrize(
    ("study", "state", "count"),
    [("code0", "finished", 1), ("code2", "failed", 2), ("code1", "failed", ATTEMPTS), ("code137", "failed", ATTEMPTS)],
)
def test_how_a_child_ends(
    supervisor: Supervisor, submissions: Submissions, settings: Settings, study: str, state: str, count: int
) -> None:
    submit(submissions, study)
    ended = look_until(supervisor, submissions, study, state)
    assert starts(settings) == [study] * count
    assert ended.exit_line is not None
    assert ended.exit_line.endswith(f"last words of {study}")
    supervisor.look()
    assert starts(settings) == [study] * count, "what has ended is not started again"


def test_a_name_is_submitted_once(submissions: Submissions) -> None:
    submit(submissions, "s")
    assert not submissions.add("s", "b", {})


def test_stop_is_a_signal_and_the_state_follows_the_process(
    supervisor: Supervisor, submissions: Submissions, settings: Settings
) -> None:
    submit(submissions, "s")
    supervisor.look()
    running = one(submissions, "s")
    assert running.state == "running"
    eventually(lambda: supervisor.child(running).last_lines(1) == ["ready"])
    assert submissions.change(running, state="stopping", after_stop="stopped")
    look_until(supervisor, submissions, "s", "stopped")
    assert not supervisor.child(running).is_running()
    assert starts(settings) == ["s"]


def test_a_search_says_what_its_workers_do(supervisor: Supervisor, submissions: Submissions) -> None:
    submit(submissions, "s")
    supervisor.look()
    child = supervisor.child(one(submissions, "s"))
    eventually(lambda: child.last_lines(1) == ["ready"])
    assert child.activities() == {"worker 0": "trial 1: training"}
    child.prepare()
    assert (child.activities(), child.activities_since()) == ({}, 0), "the next process has said nothing yet"


def test_a_larger_budget_stops_and_goes_on(
    supervisor: Supervisor, submissions: Submissions, settings: Settings
) -> None:
    submit(submissions, "s")
    supervisor.look()
    running = one(submissions, "s")
    eventually(lambda: supervisor.child(running).last_lines(1) == ["ready"])
    assert submissions.change(running, state="stopping", after_stop="queued", options={**running.options, "budget": 5})

    def goes_on() -> bool:
        supervisor.look()
        return starts(settings) == ["s", "s"]

    eventually(goes_on)
    assert one(submissions, "s").options["budget"] == 5
    assert one(submissions, "s").exit_line is None, "nothing went wrong"


def test_two_slots_run_two_and_a_next_supervisor_finds_them(
    supervisor: Supervisor, submissions: Submissions, browser: Browser, settings: Settings
) -> None:
    for study, owner in (("s1", "a"), ("s2", "a"), ("s3", "b")):
        submit(submissions, study, owner)
    supervisor.look()
    assert {each.study for each in submissions.all("running")} == {"s1", "s3"}, "owners take turns"
    eventually(lambda: sorted(starts(settings)) == ["s1", "s3"])
    following = Supervisor(settings, submissions, browser)
    following.look()
    assert {each.study for each in submissions.all("running")} == {"s1", "s3"}
    assert sorted(starts(settings)) == ["s1", "s3"]


def test_a_kill_between_the_row_and_the_process_loses_nothing(
    supervisor: Supervisor, submissions: Submissions, settings: Settings
) -> None:
    submit(submissions, "code0")
    assert submissions.change(one(submissions, "code0"), state="running", attempts=1)
    look_until(supervisor, submissions, "code0", "finished")
    assert starts(settings) == ["code0"]


def test_a_row_that_has_changed_is_not_overwritten(submissions: Submissions) -> None:
    submit(submissions, "s")
    read = one(submissions, "s")
    assert submissions.change(read, state="stopped")
    assert not submissions.change(read, state="running")
    assert one(submissions, "s").state == "stopped"
