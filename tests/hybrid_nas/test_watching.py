"""A search of a service on a terminal, beside the same search in this one."""

import contextlib
import itertools
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hybrid_nas.server import ServerEvent
from hybrid_nas.service.core import Service
from hybrid_nas.service.settings import Settings
from hybrid_nas.watching import Watch
from nas.search.inline import WORKER
from nas.search.progress import REFRESH_S, Progress
from tests.hybrid_nas.service.server import Client, serving
from tests.terminal import Terminal, frames
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SEARCH = f"""
import itertools, json, sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from hybrid_nas.api import search

held = Path(__file__).with_name("held")
evaluated = itertools.count()

def evaluate(spec):
    number = next(evaluated)
    while held.exists() and held.stat().st_size < number:
        time.sleep(0.02)
    time.sleep({REFRESH_S * 1.1})
    if "broken" in given["study"]:
        print("the disk is broken", flush=True)
        raise SystemExit(1)
    return 0.5 + len(json.dumps(spec)) % 97 / 200

given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
try:
    search(space=given["space"], budget=int(given["budget"]), study=given["study"], objectives=given["objectives"],
           evaluate=evaluate)
except KeyboardInterrupt:
    sys.exit(130)
"""
"""launch.py with a function that evaluates in the place of workers: at most one more than `held` has bytes.

Each evaluation is long enough that a display in its own process is drawn behind it.
"""
BUDGET = 8
GIVEN = {"space": "conv_only", "budget": BUDGET, "objectives": "top1,macs"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "search.py").write_text(SEARCH)
    return Settings(
        storage=f"sqlite:///{tmp_path}/far/nas.db",
        folder=tmp_path / "far/service",
        zoo=tmp_path / "zoo",
        program=(sys.executable, str(tmp_path / "search.py")),
        requests_per_s=1_000,
    )


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.delenv("NAS_STORAGE", raising=False)
    return dict(os.environ)


@pytest.fixture
def service(settings: Settings, environment: dict[str, str]) -> Iterator[Client]:
    with serving(settings) as (service, port):
        token = service.tokens.add("ada", "user")
        environment |= {"NAS_TOKEN": token, "NAS_SERVER": f"http://127.0.0.1:{port}"}
        yield Client(port, token)
        _end_all(service)


def _end_all(service: Service) -> None:
    for submission in service.submissions.all():
        child = service.supervisor.child(submission)
        with contextlib.suppress(AssertionError):
            eventually(lambda child=child: not child.stop() or not child.is_running(), 10)


@pytest.fixture
def on_terminal(tmp_path: Path, environment: dict[str, str]) -> Callable[..., Terminal]:
    def start(*words: str) -> Terminal:
        return Terminal([sys.executable, *words], tmp_path, environment)

    return start


def launch(*words: str) -> tuple[str, ...]:
    return (str(ROOT / "launch.py"), *words)


def test_the_display_is_that_of_a_search_in_this_terminal(
    service: Client, on_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    words = [f"--{name}={value}" for name, value in GIVEN.items()]
    here = on_terminal(str(tmp_path / "search.py"), *words, "--study=s")
    assert here.wait(300) == 0, here.output
    held = tmp_path / "held"
    held.touch()
    there = on_terminal(*launch("submit", *words, "--study", "s", "--watch"))
    for shown in range(1, BUDGET):
        eventually(lambda shown=shown: f"{shown}/{BUDGET} (" in _last(there), 120)
        held.write_bytes(b"." * shown)
    assert there.wait(300) == 0, there.output
    local, watched = frames(here.output, "s"), frames(there.output, "s")
    assert _ending(local[-1]) == _ending(watched[-1])
    assert f"{BUDGET}/{BUDGET} (100%)" in local[-1][0] and "macs" in local[-1][3]
    for display in (local, watched):
        assert len({frame[0] for frame in display}) >= BUDGET, "it grows with each trial"
        assert any(f"{WORKER}: idle" in frame for frame in display)
    assert re.search(r"study s is finished, 8 of 8 evaluated; best top1 .*\r\n$", there.output)


def _last(terminal: Terminal) -> str:
    """The first line of what is displayed, empty before that."""
    return next((frame[0] for frame in reversed(frames(terminal.output, "s"))), "")


def _ending(frame: list[str]) -> list[str]:
    """The display itself: study, bar, summary and the front; what follows are the closing lines."""
    table = itertools.takewhile(lambda line: re.match(r" +(trial|\d+) ", line), frame[3:])
    return [*frame[:3], *table]


def test_lines_tell_a_trial_with_its_front_or_after_a_silence(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch({"evaluated": 0}, Progress("s", BUDGET, 0, quiet=False))
    trial = {"state": "COMPLETE", "layout": "conv stem", "top1": 0.5}
    member = {"trial_number": 0, "arch_hash": "0" * 64, "top1": 0.5, "cost": 1.0}
    watch.take(ServerEvent("1", "trial", {**trial, "number": 0}))
    watch.take(ServerEvent("2", "front", {"members": [member], "hypervolume": 1.0}))
    watch.take(ServerEvent("3", "trial", {**trial, "number": 1}))
    watch.show()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(";")[0] for line in lines] == ["evaluated 1/8 (12%)", "evaluated 2/8 (25%)"]
    assert all(line.endswith("best top1 0.5000, hypervolume 1.0000, front 1") for line in lines)


def test_ctrl_c_ends_the_watching_and_not_the_search(service: Client, on_terminal: Callable[..., Terminal]) -> None:
    service.post("/studies", {**GIVEN, "budget": 100, "study": "a b"})
    watched = on_terminal(*launch("watch", "a b"))
    eventually(lambda: frames(watched.output, "a b"), 300)
    watched.process.send_signal(signal.SIGINT)
    assert watched.wait() == 130
    assert "no longer watched; the search goes on. Stop it: launch.py stop 'a b' --server http://" in watched.output
    assert service.get("/studies/a%20b").json["state"] == "running"


def test_a_stop_is_seen_and_is_no_failure(service: Client, on_terminal: Callable[..., Terminal]) -> None:
    service.post("/studies", {**GIVEN, "budget": 100, "study": "s"})
    first = on_terminal(*launch("watch", "s"))
    eventually(lambda: frames(first.output, "s"), 300)
    eventually(lambda: service.get("/studies/s").json["evaluated"], 300)
    assert service.post("/studies/s/stop").status == 202
    later = on_terminal(*launch("watch", "s", "--quiet"))
    for terminal in (first, later):
        assert terminal.wait(300) == 0, terminal.output
        said = r"study s is stopped, \d+ of 100 evaluated; .*: interrupted; the state is saved"
        assert re.search(said, terminal.output), terminal.output
    assert later.output.count("\n") == 1, "its end, and nothing else"


def test_a_search_that_waits_can_be_stopped(service: Client, run_client: Callable[..., tuple[int, str]]) -> None:
    service.post("/studies", {**GIVEN, "budget": 100, "study": "first"})
    assert run_client("submit", *(f"--{name}={value}" for name, value in GIVEN.items()), "--study", "second")[0] == 0
    assert run_client("stop", "second")[0] == 0
    code, output = run_client("watch", "second")
    assert (code, output) == (0, "study second is stopped, 0 of 8 evaluated; front 0\n")


def test_a_failure_is_an_exit_code(service: Client, run_client: Callable[..., tuple[int, str]]) -> None:
    service.post("/studies", {**GIVEN, "study": "broken"})
    code, output = run_client("watch", "broken")
    assert code == 1
    lines = output.splitlines()
    assert lines[-1].startswith("study broken is failed, 0 of 8 evaluated; front 0: ")
    assert lines.count("the disk is broken") == 4, "it was started four times"


@pytest.fixture
def run_client(
    run_command: Callable[..., tuple[int, str, str]], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """A command of the client in this process."""

    def run(*words: str) -> tuple[int, str]:
        for name in ("NAS_TOKEN", "NAS_SERVER"):
            monkeypatch.setenv(name, environment[name])
        code, output, errors = run_command(*words)
        assert errors == ""
        return code, output

    return run
