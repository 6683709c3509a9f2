"""Other engines beside ours: the protocol with a real peer, and peers that die or answer nonsense."""

import argparse
import math
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from benchmarks.peers import environments
from benchmarks.peers.compare import PEERS, PeerProgram, Run, main, read, run_all, table
from benchmarks.peers.process import PeerProcess, PeerSampler
from nas.errors import NasError
from nas.samplers.registry import SAMPLERS, registered
from nas.tabular.problems import open_problem
from nas.tabular.recorded import Levels, RecordedProblem
from nas.tabular.simulator import simulate

PROBLEM: RecordedProblem = open_problem("synthetic", Path("nowhere"), True)
FIRST = '{"version": "1", "processor_s": 0}'


def peer(tmp_path: Path, *arguments: str) -> PeerProcess:
    """A peer that this Python runs."""
    return PeerProcess("tried", [sys.executable, *arguments], tmp_path / "peer.log")


def scripted(tmp_path: Path, *lines: str) -> PeerProcess:
    """A peer that these lines make of random search, and serve."""
    imports = "from benchmarks.peers.peer import serve", "from benchmarks.peers.random_search import RandomSearch"
    return peer(tmp_path, "-c", "\n".join([*imports, *lines]))


def answering(tmp_path: Path, *lines: str) -> PeerProcess:
    """A peer that answers these lines, one to each line that comes, and ends."""
    script = "import sys\nfor line in sys.argv[1:]:\n    sys.stdin.readline()\n    print(line, flush=True)"
    return peer(tmp_path, "-c", script, *lines)


def searched(tmp_path: Path, seed: int) -> tuple[Levels, ...]:
    """What random search in a process of its own trains."""
    with peer(tmp_path, "-m", "benchmarks.peers.random_search") as process:
        process.start(PROBLEM, seed, 30)
        with registered({"tried": lambda *_: PeerSampler(process, PROBLEM)}):
            return simulate(PROBLEM, "tried", seed, 30).trained


def test_a_peer_searches_as_a_sampler_does(tmp_path: Path) -> None:
    first = searched(tmp_path, 0)
    assert len(set(first)) == 30
    assert first == searched(tmp_path, 0)
    assert first != searched(tmp_path, 1)


def test_a_peer_is_told_every_result_on_the_axes_of_hypervolume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[Levels, tuple[float, float]] = {}
    tell = PeerProcess.tell

    def note(self: PeerProcess, levels: Levels, error_percent: float, log_cost: float) -> None:
        told[levels] = error_percent, log_cost
        tell(self, levels, error_percent, log_cost)

    monkeypatch.setattr(PeerProcess, "tell", note)
    trained = searched(tmp_path, 0)
    assert set(told) == set(trained)
    for levels in trained:
        assert told[levels][0] == pytest.approx(100 - PROBLEM.accuracy_percent(levels))
        assert told[levels][1] == pytest.approx(math.log(PROBLEM.cost(levels)))


def test_a_peer_is_told_the_reference_point_on_the_same_axes(tmp_path: Path) -> None:
    lines = (
        "def start(problem):",
        "    print(problem.reference_point, flush=True)",
        "    return RandomSearch(problem)",
        "serve(start, 'pip')",
    )
    with scripted(tmp_path, *lines) as process:
        process.start(PROBLEM, 0, 1)
    accuracy_percent, cost = PROBLEM.reference_point
    said = (tmp_path / "peer.log").read_text(encoding="utf-8")
    assert said.strip() == str((100 - accuracy_percent, math.log(cost)))


def test_what_a_library_prints_is_no_answer(tmp_path: Path) -> None:
    lines = (
        "class Loud(RandomSearch):",
        "    def ask(self):",
        "        print('a banner', flush=True)",
        "        return super().ask()",
        "serve(Loud, 'pip')",
    )
    with scripted(tmp_path, *lines) as process:
        process.start(PROBLEM, 0, 1)
        assert len(process.ask()) == len(PROBLEM.genes)
    assert "a banner" in (tmp_path / "peer.log").read_text(encoding="utf-8")


def test_a_peer_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    script = f"import sys\nsys.stdin.readline()\nprint('{FIRST}', flush=True)\nraise ValueError('no kernel')"
    expected = r"the peer tried ended with code 1 .* last said: ValueError: no kernel; .*peer\.log"
    with peer(tmp_path, "-c", script) as process:
        process.start(PROBLEM, 0, 1)
        with pytest.raises(NasError, match=expected):
            process.ask()


def test_a_peer_that_is_killed_is_named(tmp_path: Path) -> None:
    with peer(tmp_path, "-m", "benchmarks.peers.random_search") as process:
        process.start(PROBLEM, 0, 1)
        process._process.kill()
        process._process.wait()
        with pytest.raises(NasError, match="the peer tried ended with code -9"):
            process.ask()


def test_what_an_engine_draws_from_global_generators_is_that_of_the_seed(tmp_path: Path) -> None:
    lines = (
        "import random, numpy",
        "class Careless(RandomSearch):",
        "    def ask(self):",
        "        drawn = random.random(), numpy.random.random()",
        "        return [int(drawn[i % 2] * gene.levels) for i, gene in enumerate(self._genes)]",
        "serve(Careless, 'pip')",
    )

    def asked(seed: int) -> list[Levels]:
        with scripted(tmp_path, *lines) as process:
            process.start(PROBLEM, seed, 1)
            return [process.ask() for _ in range(5)]

    assert asked(0) == asked(0) != asked(1)


@pytest.mark.parametrize(
    "answer",
    [
        "Welcome!",
        "[]",
        '{"levels": null, "processor_s": 1}',
        '{"levels": [0], "processor_s": 1}',
        '{"levels": [0, 0, 0, 0, 0, 0, 0, 4], "processor_s": 1}',
        '{"levels": [0, 0, 0, 0, 0, 0, 0, -1], "processor_s": 1}',
        '{"levels": [0, 0, 0, 0, 0, 0, 0, 1.5], "processor_s": 1}',
        '{"levels": [0, 0, 0, 0, 0, 0, 0, true], "processor_s": 1}',
        '{"levels": [0, 0, 0, 0, 0, 0, 0, 0]}',
    ],
)
def test_nonsense_is_refused(tmp_path: Path, answer: str) -> None:
    with answering(tmp_path, FIRST, answer) as process:
        process.start(PROBLEM, 0, 1)
        with pytest.raises(NasError, match=r"the peer tried answered .* expected .* each of the 8 genes") as raised:
            process.ask()
    assert answer[:100] in str(raised.value)


def test_nonsense_at_the_start_is_refused(tmp_path: Path) -> None:
    with (
        answering(tmp_path, '{"levels": []}') as process,
        pytest.raises(NasError, match=r"the peer tried answered .* expected .*version"),
    ):
        process.start(PROBLEM, 0, 1)


def test_a_peer_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"the peer tried cannot be started: .*nowhere"):
        PeerProcess("tried", [tmp_path / "nowhere"], tmp_path / "peer.log")


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of requirements of peers; random search needs nothing."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    (folder / "random_search.txt").write_text("", encoding="utf-8")
    monkeypatch.setattr(environments, "REQUIREMENTS", folder)
    return folder


@pytest.mark.slow
def test_a_comparison_goes_on_where_it_was_stopped(
    tmp_path: Path, requirements: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "random_search", PeerProgram("random_search"))
    rows = tmp_path / "rows.jsonl"
    options = argparse.Namespace(
        problem=["synthetic"],
        peer=["random_search", "random"],
        seeds=1,
        budget=25,
        rows=rows,
        data=tmp_path,
        environments=tmp_path / "environments",
    )
    run_all(options)
    first = rows.read_text(encoding="utf-8")
    run_all(argparse.Namespace(**{**vars(options), "seeds": 2}))
    assert rows.read_text(encoding="utf-8").startswith(first)
    done = [(row.peer, row.seed, row.trainings) for row in read(rows)]
    assert done == [("random_search", 0, 25), ("random", 0, 25), ("random_search", 1, 25), ("random", 1, 25)]
    assert "random_search" not in SAMPLERS, "what the commands offer stays as it was"
    assert all(0 < row.hypervolume["25"] < 1 for row in read(rows))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--problem", "synthetic"], "error: nothing would be compared; give --peer"),
        (["--peer", "random", "--problem", "synthetic", "--budget", "24"], "--budget of 25 or more"),
        (["--peer", "random", "--problem", "macro", "--data", "nowhere"], "error: .*nowhere"),
    ],
)
def test_what_cannot_be_compared_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["compare", "run", "--rows", str(tmp_path / "rows.jsonl"), *options])
    with pytest.raises(SystemExit, match=said):
        main()


def test_a_problem_whose_cost_only_a_clock_tells_is_compared(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    run_all(
        argparse.Namespace(
            problem=["hybrid_nano_cpu"],
            peer=["random"],
            seeds=1,
            budget=25,
            rows=rows,
            data=tmp_path,
            environments=None,
        )
    )
    [row] = read(rows)
    assert row.trainings == 25


@pytest.mark.slow
def test_an_environment_is_made_once_and_sees_our_packages_behind_its_own(tmp_path: Path, requirements: Path) -> None:
    python = environments.environment("random_search", tmp_path)
    subprocess.run([python, "-c", "import numpy"], check=True)
    made = python.lstat().st_ctime_ns
    assert environments.environment("random_search", tmp_path) == python
    assert python.lstat().st_ctime_ns == made
    done = tmp_path / "random_search" / environments.DONE
    behind = str(Path(sysconfig.get_path("purelib")).resolve())
    done.write_text(done.read_text(encoding="utf-8").replace(behind, "/elsewhere"), encoding="utf-8")
    environments.environment("random_search", tmp_path)
    assert python.lstat().st_ctime_ns > made, "it saw the packages of another checkout"
    (requirements / "random_search.txt").write_text("./missing.whl", encoding="utf-8")
    with pytest.raises(NasError, match=r"environment of the peer random_search cannot be made in .*missing\.whl"):
        environments.environment("random_search", tmp_path)


def test_every_peer_has_its_requirements_pinned() -> None:
    for program in PEERS.values():
        lines = (environments.REQUIREMENTS / f"{program.requirements}.txt").read_text(encoding="utf-8").split()
        assert lines
        assert all(re.fullmatch(r"[a-z-]+==[0-9.]+", line) for line in lines)


def test_the_table_has_a_line_for_each_peer_and_medians_over_seeds() -> None:
    shares = [{"25": 0.5, "50": 0.6}, {"25": 0.7, "50": 0.9}, {"25": 0.6, "50": 0.7, "100": 0.8}]
    rows = [
        Run(
            problem="macro",
            peer="ax",
            version="1.3.1",
            seed=seed,
            budget=max(map(int, share)),
            trainings=50,
            repeats=0,
            hypervolume=share,
            ask_ms=1500.0,
        )
        for seed, share in enumerate(shares)
    ]
    [_, _, line] = table(rows).splitlines()
    assert line == "| macro | ax | 1.3.1 | .600 | .700 | .800 (1) |  | 3 | 1.5 s |"
