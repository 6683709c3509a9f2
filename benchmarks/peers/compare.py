"""Other engines of architecture search beside ours, on recorded problems.

    python -m benchmarks.peers.compare run --peer ax --peer ehvi --problem macro --data FOLDER --seeds 3 --budget 100
    python -m benchmarks.peers.compare table

`run` adds one row a search to the row file and leaves out what stands there. An engine that cannot share our packages
has an environment of its own (benchmarks/peers/requirements), made at its first run, and speaks the protocol of
benchmarks/peers/peer.py. All of them run in the loop of `launch.py bench`, so budget and treatment of repeats are the
same. `table` prints the table of docs/measurements/search.md.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import optuna

from benchmarks.made_up import SHAPES, make_problem
from benchmarks.peers.environments import environment
from benchmarks.peers.process import PeerProcess, PeerSampler
from benchmarks.rows import append_row, read_rows
from hybrid_nas.problems import PROBLEMS, open_problem
from nas.errors import InvalidInputError, NasError
from nas.samplers.registry import SAMPLERS, registered
from nas.surrogates.threads import one_thread
from nas.tabular.bench import CHECKPOINTS, growth
from nas.tabular.nano import LATENCY, NANO
from nas.tabular.recorded import RecordedProblem
from nas.tabular.simulator import Simulation, simulate
from nas.version import code_version
from nas.workspace import DEFAULT_FOLDER

ROWS = Path(__file__).parents[2] / "docs" / "measurements" / "peers.jsonl"
MODELLED = "ehvi_modelled"
"""Our sampler where the cost is only known after training: the peers have no way to be told a cost before."""


@dataclass(frozen=True, slots=True)
class PeerProgram:
    """An engine with a process of its own."""

    requirements: str
    """Name of its environment and of its module in benchmarks/peers."""
    arguments: tuple[str, ...] = ()


PEERS = {
    "ax": PeerProgram("ax", ("told",)),
    "ax_inferred": PeerProgram("ax", ("inferred",)),
    "smac": PeerProgram("smac"),
    "neps_primo": PeerProgram("neps"),
    "syne_tune_ehvi": PeerProgram("syne_tune", ("ehvi",)),
    "syne_tune_morea": PeerProgram("syne_tune", ("morea",)),
    "pymoo_nsga2": PeerProgram("pymoo"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One search; a row of the file."""

    problem: str
    peer: str
    version: str
    seed: int
    budget: int
    trainings: int
    """Fewer than the budget where nothing new was found."""
    repeats: int
    """Asks that were answered from the record."""
    hypervolume: dict[str, float]
    """Trainings -> share of the true front's hypervolume."""
    ask_ms: float
    """Mean processor time of an ask, with the tell before it; for samplers in our own process, the loop's too."""


def run(problem: RecordedProblem, peer: str, seed: int, budget: int, environments: Path) -> Run:
    """Search a problem once.

    Raises:
        NasError: if the peer cannot be started, ends, or answers what cannot be understood.
    """
    if peer in PEERS:
        return _by_peer(problem, peer, seed, budget, environments)
    started_s = time.process_time()
    if peer == MODELLED:
        found = simulate(replace(problem, known_cost=None), "ehvi", seed, budget)
    else:
        found = simulate(problem, peer, seed, budget)
    processor_s = time.process_time() - started_s
    label = code_version() if peer in ("ehvi", MODELLED) else version("optuna")
    return _row(problem, peer, label, seed, budget, found, processor_s)


def _by_peer(problem: RecordedProblem, peer: str, seed: int, budget: int, environments: Path) -> Run:
    program = PEERS[peer]
    python = environment(program.requirements, environments)
    command = [python, "-m", f"benchmarks.peers.{program.requirements}", *program.arguments]
    with PeerProcess(peer, command, environments / f"{peer}.log") as process:
        label = process.start(problem, seed, budget)
        with registered({peer: lambda *_: PeerSampler(process, problem)}):
            found = simulate(problem, peer, seed, budget)
    return _row(problem, peer, label, seed, budget, found, process.processor_s)


def _row(
    problem: RecordedProblem, peer: str, label: str, seed: int, budget: int, found: Simulation, processor_s: float
) -> Run:
    checkpoints = [count for count in CHECKPOINTS if count <= budget]
    shares = growth(problem, found, checkpoints)
    return Run(
        problem=problem.name,
        peer=peer,
        version=label,
        seed=seed,
        budget=budget,
        trainings=found.counted,
        repeats=found.replays,
        hypervolume={str(count): round(share, 4) for count, share in zip(checkpoints, shares, strict=True)},
        ask_ms=round(1e3 * processor_s / len(found.ask_s), 1),
    )


def table(rows: Sequence[Run]) -> str:
    """Markdown, one line for each problem and engine: median hypervolume at each checkpoint, seeds, time of an ask."""
    header = ["problem", "engine", "version", *(f"after {count}" for count in CHECKPOINTS), "seeds", "ask"]
    lines = [header, ["---"] * len(header)]
    longest = {(row.problem, row.peer, row.seed): row for row in sorted(rows, key=lambda row: row.budget)}
    for problem in (*PROBLEMS, *SHAPES):
        for peer in dict.fromkeys(row.peer for row in rows):
            runs = [row for row in longest.values() if (row.problem, row.peer) == (problem, peer)]
            if runs:
                lines.append([problem, peer, *_cells(runs)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(runs: Sequence[Run]) -> list[str]:
    mean_ms = float(np.mean([run.ask_ms for run in runs]))
    ask = f"{mean_ms:.3g} ms" if mean_ms < 1000 else f"{mean_ms / 1000:.1f} s"
    return [runs[-1].version, *(_median(runs, count) for count in CHECKPOINTS), str(len(runs)), ask]


def _median(runs: Sequence[Run], checkpoint: int) -> str:
    """The median hypervolume, and of how many searches it is where not all went so far."""
    shares = [run.hypervolume[str(checkpoint)] for run in runs if str(checkpoint) in run.hypervolume]
    if not shares:
        return ""
    number = f"{np.median(shares):.3f}".removeprefix("0")
    return number if len(shares) == len(runs) else f"{number} ({len(shares)})"


def read(path: Path) -> list[Run]:
    """All rows of a file."""
    return [Run(**row) for row in read_rows(path)]


def run_all(options: argparse.Namespace) -> None:
    """Run what the options name and the file lacks, one search at a time.

    Raises:
        InvalidInputError: if the options name nothing, or what cannot be opened.
        NasError: if a peer cannot be made, or fails.
    """
    if not options.peer or not options.problem or options.seeds < 1 or options.budget < CHECKPOINTS[0]:
        raise InvalidInputError(
            f"nothing would be compared; give --peer and --problem, --seeds of 1 or more, and --budget of "
            f"{CHECKPOINTS[0]} or more"
        )
    done = {(row.problem, row.peer, row.seed, row.budget) for row in read(options.rows)}
    for name in options.problem:
        problem: RecordedProblem | None = None
        for peer in options.peer:
            for seed in range(options.seeds):
                if (name, peer, seed, options.budget) in done:
                    continue
                problem = problem or _open(name, options.data)
                found = run(problem, peer, seed, options.budget, options.environments)
                append_row(options.rows, asdict(found))
                print(found, flush=True)


def _open(name: str, data: Path) -> RecordedProblem:
    """The problem with known costs, but where only a clock tells them."""
    _, cost = NANO.get(name, ("", ""))
    return make_problem(name, 0) if name in SHAPES else open_problem(name, data, known=cost != LATENCY)


def main() -> None:
    """Run or print what the options name."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument(
        "--peer", action="append", choices=(*PEERS, MODELLED, *SAMPLERS), default=[], help="engine; may be repeated"
    )
    parser.add_argument("--problem", action="append", choices=(*PROBLEMS, *SHAPES), default=[], help="may be repeated")
    parser.add_argument("--data", type=Path, default=Path("tabular"), help="folder of the recorded results")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--rows", type=Path, default=ROWS, help="row file")
    parser.add_argument(
        "--environments", type=Path, default=DEFAULT_FOLDER / "peers", help="folder of the engines' environments"
    )
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if options.what == "table":
        print(table(read(options.rows)))
        return
    try:
        with one_thread():
            run_all(options)
    except NasError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
