"""Does a wider choice of mixers find better fronts with the same budget?

    python -m benchmarks.mixer_sets search --storage URL --budget 100 --seeds 0 1 2    # goes on where it was
    python -m benchmarks.mixer_sets again --storage URL                                # quiet, minutes
    python -m benchmarks.mixer_sets report

`search` runs whole searches that differ in `--mixers` and seed alone, and writes one row for each that has ended.
Latencies of different devices have nothing in common, so a row of another device stands for no search of this one.
`again` times the fronts of all searches in one sitting, in random order: the pace of a machine changes from search to
search. `report` measures hypervolumes of a device from one reference point, the farthest of all rows, after 50
evaluations and at the end: once with the latencies of the searches, and once with those of the sitting.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.rows import append_row, read_rows, spread_text
from hybrid_nas import api
from hybrid_nas.study import Study
from nas.pareto.front import front_rows, hypervolume
from nas.records import COUNTED_STATES, JSON
from search_spaces.architecture.kinds.kind import ATTENTION
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture
from search_spaces.build import build_model
from workers.data.registry import open_data
from workers.latency.device_lock import DeviceLock
from workers.latency.measure import measure
from workers.latency.target import LatencyTarget
from workers.training.recipes import search_recipe

ROWS = Path(__file__).parents[1] / "docs" / "measurements" / "mixer_sets.jsonl"
AGAIN = "_again"
"""After the name of the row file, in that of the rows of `again`."""
CHOICES = {"core": "core", "default": None, "efficient": "efficient", "all": "all"}
CHECKPOINTS = 50, 100
TARGET = "cpu:threads=1,batch=1"


@dataclass(frozen=True, slots=True)
class Searched:
    """One search."""

    choice: str
    seed: int
    data: str
    steps: int
    """Optimizer steps of a training."""
    device: str
    """What was timed, as the fingerprints of latencies name it."""
    reference_point: tuple[float, float]
    points: list[tuple[float, float]]
    """(top1, latency in ms) of every evaluated architecture, in the order in which they ended."""
    blocks: dict[str, int]
    """Mixers in blocks of the front's networks."""


@dataclass(frozen=True, slots=True)
class Again:
    """A member of the front of a search, timed in a sitting with those of all others."""

    choice: str
    seed: int
    data: str
    steps: int
    device: str
    place: int
    """Where its evaluation stands among the points of the search."""
    latency_ms: float

    def is_of(self, row: Searched) -> bool:
        """Whether that search found it."""
        return (self.choice, self.seed, *_setting(self)) == (row.choice, row.seed, *_setting(row))


def run_search(arguments: argparse.Namespace) -> None:
    """Run every search that has no row yet."""
    wanted = (*trained_on(arguments), this_device())
    rows = [row for row in read(arguments.rows) if _setting(row) == wanted]
    done = {(row.choice, row.seed, len(row.points)) for row in rows}
    for seed in arguments.seeds:
        for choice in arguments.choices:
            if (choice, seed, arguments.budget) in done:
                continue
            study = api.search(
                space="hybrid_layout",
                budget=arguments.budget,
                study=study_name(choice, seed),
                storage=arguments.storage,
                data=arguments.data,
                recipe=arguments.recipe,
                mixers=CHOICES[choice],
                latency_target=TARGET,
                seed=seed,
                quiet=True,
            )
            append_row(arguments.rows, asdict(searched(study, choice, seed, *wanted)))
            print(choice, seed, flush=True)


def trained_on(arguments: argparse.Namespace) -> tuple[str, int]:
    """Name of the data, and optimizer steps of each training."""
    source = open_data(arguments.data)
    return source.name, search_recipe(arguments.recipe, source, 1).steps


def this_device() -> str:
    """The device here, as the fingerprints of latencies name it."""
    return str(LatencyTarget.parse(TARGET).fingerprint((1, 1, 1))["device_name"])


def run_again(arguments: argparse.Namespace) -> None:
    """Time the fronts of all searches that have a row and stand in the database."""
    wanted = (*trained_on(arguments), this_device())
    specs = dict(_fronts([row for row in read(arguments.rows) if _setting(row) == wanted], arguments.storage))
    done = {(row.choice, row.seed, row.place) for row in read_again(arguments.rows) if _setting(row) == wanted}
    left = [network for network in specs if network not in done]
    target = LatencyTarget.parse(TARGET)
    shape = open_data(arguments.data).input_shape
    lock = DeviceLock("cpu", Path(tempfile.mkdtemp(prefix="mixer-sets-locks-")))
    for drawn in np.random.default_rng(0).permutation(len(left)):
        choice, seed, place = left[drawn]
        latency = measure(build_model(Architecture.from_spec(specs[choice, seed, place])), target, shape, lock)
        append_row(again_path(arguments.rows), asdict(Again(choice, seed, *wanted, place, latency.median_ms)))
    print(f"{len(left)} networks timed, {len(specs)} in all")


def _setting(row: Searched | Again) -> tuple[str, int, str]:
    return row.data, row.steps, row.device


def _fronts(rows: Sequence[Searched], storage: str) -> Iterator[tuple[tuple[str, int, int], JSON]]:
    """Choice, seed and place of every network that was on a front after CHECKPOINTS evaluations, and its spec."""
    for row in rows:
        study = api.open_study(study_name(row.choice, row.seed), storage=storage)
        specs = [trial.spec for trial in study.trials if trial.state in COUNTED_STATES]
        for place in on_fronts(row):
            yield (row.choice, row.seed, place), specs[place]


def members(row: Searched, count: int) -> list[int]:
    """Places of the evaluations on the front after so many."""
    top1, latency_ms = np.array(row.points[:count]).T
    found: list[int] = front_rows(top1, latency_ms).tolist()
    return found


def on_fronts(row: Searched) -> set[int]:
    """Places of the evaluations that were on a front after CHECKPOINTS."""
    return set().union(*(members(row, count) for count in CHECKPOINTS))


def study_name(choice: str, seed: int) -> str:
    """The name of a search in the database."""
    return f"mixers-{choice}-{seed}"


def searched(study: Study, choice: str, seed: int, data: str, steps: int, device: str) -> Searched:
    """What the report needs of a search that has ended."""
    assert study.front is not None
    members = {member.trial_number for member in study.front.members}
    points = []
    blocks: Counter[str] = Counter()
    for trial in study.trials:
        if trial.state in COUNTED_STATES:
            points.append((trial.top1, trial.latency.median_ms))
        if trial.trial_number in members:
            blocks.update(_mixers(trial.spec))
    return Searched(choice, seed, data, steps, device, study.record.reference_point, points, dict(blocks))


def read(path: Path) -> list[Searched]:
    """The rows of all searches."""
    rows = []
    for row in read_rows(path):
        points = [(top1, ms) for top1, ms in row.pop("points")]
        top1, ms = row.pop("reference_point")
        rows.append(Searched(**row, reference_point=(top1, ms), points=points))
    return rows


def read_again(path: Path) -> list[Again]:
    """The rows of `again`, beside the row file at `path`."""
    return [Again(**row) for row in read_rows(again_path(path))]


def again_path(path: Path) -> Path:
    """The row file of `again` beside that of `search`."""
    return path.with_stem(path.stem + AGAIN)


def report(rows: Sequence[Searched], timed_again: Sequence[Again]) -> Iterator[str]:
    """Tables of every device, with one line a choice."""
    for device in dict.fromkeys(row.device for row in rows):
        here = [row for row in rows if row.device == device]
        yield f"\n{device}, latencies of the searches"
        yield from _table(here)
        known = [row for row in map(partial(as_timed, timed_again), here) if row is not None]
        if known:
            yield f"\n{device}, fronts timed in one sitting"
            yield from _table(known)


def as_timed(sitting: Sequence[Again], row: Searched) -> Searched | None:
    """The search with the latencies of the sitting; what was on no front stands at its reference point, where it adds
    nothing. None where the sitting lacks a member."""
    latencies = {again.place: again.latency_ms for again in sitting if again.is_of(row)}
    timed = on_fronts(row)
    if not timed <= latencies.keys():
        return None
    points = [
        (top1, latencies[place]) if place in timed else row.reference_point
        for place, (top1, _) in enumerate(row.points)
    ]
    return replace(row, points=points)


def _table(rows: Sequence[Searched]) -> Iterator[str]:
    reference_point = max(row.reference_point for row in rows)
    yield f"hypervolume from ({reference_point[0]:g}, {reference_point[1]:.3g} ms), mean and standard deviation"
    yield ""
    yield (
        "| `--mixers` | seeds | " + " | ".join(f"after {count}" for count in CHECKPOINTS) + " | best top1 | on fronts |"
    )
    yield "|---|---|" + "---|" * len(CHECKPOINTS) + "---|---|"
    for choice in CHOICES:
        found = [row for row in rows if row.choice == choice]
        if not found:
            continue
        cells = [choice, str(len(found))]
        for count in CHECKPOINTS:
            cells.append(spread_text([hypervolume(row.points[:count], reference_point) for row in found]))
        cells += [spread_text([max(row.points)[0] for row in found]), _mixers_on_fronts(found)]
        yield f"| {' | '.join(cells)} |"


def _mixers_on_fronts(rows: Sequence[Searched]) -> str:
    """Attentions in blocks of the fronts' networks, the most frequent first."""
    blocks: Counter[str] = Counter()
    for row in rows:
        blocks.update(row.blocks)
    attentions = [(name, count) for name, count in blocks.most_common() if KINDS[name].role == ATTENTION]
    convolutions = sum(count for name, count in blocks.items() if KINDS[name].role != ATTENTION)
    words = [f"{name} {count}" for name, count in attentions[:5]]
    return ", ".join([f"convolutions {convolutions}", *words])


def _mixers(spec: JSON) -> Iterator[str]:
    for stage in Architecture.from_spec(spec).stages:
        for block in stage.blocks:
            yield from filter(None, (block.conv, block.attention))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "again", "report"))
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=list(CHOICES))
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--recipe")
    parser.add_argument("--storage", default="sqlite:///runs/mixer_sets.db")
    parser.add_argument("--rows", type=Path, default=ROWS, help="row file")
    arguments = parser.parse_args()
    if arguments.what == "search":
        run_search(arguments)
        return
    if arguments.what == "again":
        run_again(arguments)
        return
    wanted = trained_on(arguments)
    rows = [row for row in read(arguments.rows) if row.choice in arguments.choices and (row.data, row.steps) == wanted]
    if not rows:
        raise SystemExit(
            f"error: {arguments.rows} has no search on {wanted[0]} by {wanted[1]} steps; run `search` first"
        )
    print("\n".join(report(rows, read_again(arguments.rows))))


if __name__ == "__main__":
    main()
