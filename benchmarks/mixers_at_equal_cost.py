"""Every mixer at equal latency: one frame, one mixer in all stages, the width fitted to what the latency allows.

    python -m benchmarks.mixers_at_equal_cost fit --budgets-ms 3.5 6   # quiet, a few minutes
    python -m benchmarks.mixers_at_equal_cost train --data digits --seeds 3
    python -m benchmarks.mixers_at_equal_cost train --data folder:DIR --recipe benchmarks/short_recipe.json --seeds 3
    python -m benchmarks.mixers_at_equal_cost report

`fit` times widths of every mixer, and writes the widest within each budget to the row file. `train` trains each of them
by the recipe of a search, or the one given, and writes one row a training, so that it goes on where it was stopped.
`report` prints the tables of docs/measurements/mixers.md. A mixer is left out where no width is within the budget.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.proxy import run_one
from benchmarks.rows import append_row, read_rows, spread_text
from nas.records import JSON
from search_spaces.architecture.block import StageSpec, StemSpec
from search_spaces.architecture.costs import costs
from search_spaces.architecture.kinds.kind import ATTENTION, Place
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture
from search_spaces.build import build_model
from search_spaces.frames import FRAMES, WITH_HEADS, attended_width, stage_blocks
from search_spaces.scales import stage_map_sizes
from workers.data.registry import open_data
from workers.latency.device_lock import DeviceLock
from workers.latency.measure import measure
from workers.latency.target import LatencyTarget
from workers.training.recipes import search_recipe

ROWS = Path(__file__).parents[1] / "docs" / "measurements" / "mixers_at_equal_cost.jsonl"
TARGET = "cpu:threads=1,batch=1"
WIDTHS = tuple(range(16, 257, 8))
"""Channels of the first stage; each later stage has twice as many."""
DEPTH = 1
GROUP_SIZES = "1-3-5"
HEAD_DIMS = (32, 24, 16, 8)


@dataclass(frozen=True, slots=True)
class Fit:
    """The widest network of a mixer within a latency."""

    mixer: str
    image_size: int
    budget_ms: float
    width: int
    latency_ms: float
    param_count: int
    macs: int


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a fitted network."""

    mixer: str
    data: str
    budget_ms: float
    width: int
    steps: int
    seed: int
    top1: float


def network(mixer: str, width: int, image_size: int, in_chans: int, num_classes: int) -> Architecture | None:
    """The frame with one mixer in every block; None where the mixer cannot be built at this width."""
    frame = FRAMES["conv"]
    stages = []
    for index, map_size in enumerate(stage_map_sizes(image_size)):
        wide = width * 2**index
        genes = _genes(mixer, wide)
        if genes is None:
            return None
        downsample, stride = (frame.downsample, 2) if index else ("none", 1)
        stages.append(StageSpec(wide, downsample, stride, stage_blocks(genes, frame, index, map_size)))
    made = Architecture(
        StemSpec("conv", width, "batch"), tuple(stages), frame.head_norm, image_size, in_chans, num_classes
    )
    fits = all(_fits(mixer, stage, size) for stage, size in zip(made.stages, made.map_sizes(), strict=True))
    return made if fits else None


def _genes(mixer: str, width: int) -> JSON | None:
    attends = KINDS[mixer].role == ATTENTION
    attended = attended_width(width, mixer, GROUP_SIZES)
    dims = [dim for dim in HEAD_DIMS if attended % dim == 0]
    if mixer in WITH_HEADS and not dims:
        return None
    return {
        "pattern": "attention" if attends else "conv",
        "period": 1,
        "depth": DEPTH,
        "width": width,
        "attention": mixer,
        "partner": "conv",
        "group_sizes": GROUP_SIZES,
        "conv": mixer,
        "kernel": 3,
        "ratio": 4 if not attends else 3,
        "head_dim": dims[0] if dims else 0,
    }


def _fits(mixer: str, stage: StageSpec, map_size: int) -> bool:
    place = Place(0, map_size, stage.width)
    return not KINDS[mixer].problem(stage.blocks[0], place.width)


def fit(mixer: str, budget_ms: float, data: str, lock: DeviceLock) -> Fit | None:
    """The widest network within the budget, by bisection over the widths that can be built."""
    source = open_data(data)
    made = (network(mixer, width, source.image_size, source.in_chans, source.num_classes) for width in WIDTHS)
    candidates = [architecture for architecture in made if architecture is not None]
    best = None
    low = 0
    high = len(candidates) - 1
    while low <= high:
        middle = (low + high) // 2
        architecture = candidates[middle]
        latency = measure(build_model(architecture), LatencyTarget.parse(TARGET), source.input_shape, lock)
        if latency.median_ms > budget_ms:
            high = middle - 1
            continue
        cost = costs(architecture)
        width = architecture.stem.width
        best = Fit(mixer, source.image_size, budget_ms, width, latency.median_ms, cost.param_count, cost.macs)
        low = middle + 1
    return best


def read(path: Path) -> tuple[list[Fit], list[Training]]:
    """The rows of both kinds."""
    fits = []
    trainings = []
    for row in read_rows(path):
        if row.pop("kind") == "fit":
            fits.append(Fit(**row))
        else:
            trainings.append(Training(**row))
    return fits, trainings


def append(path: Path, row: Fit | Training) -> None:
    """Add one row."""
    kind = "fit" if isinstance(row, Fit) else "training"
    append_row(path, {"kind": kind, **asdict(row)})


def run_fit(arguments: argparse.Namespace) -> None:
    """Fit every mixer to every budget that has no row yet."""
    done = {(row.mixer, row.image_size, row.budget_ms) for row in read(arguments.rows)[0]}
    image_size = open_data(arguments.data).image_size
    lock = DeviceLock("cpu", Path(tempfile.mkdtemp(prefix="equal-cost-locks-")))
    for mixer in arguments.mixers or KINDS:
        for budget_ms in arguments.budgets_ms:
            if (mixer, image_size, budget_ms) in done:
                continue
            found = fit(mixer, budget_ms, arguments.data, lock)
            print(mixer, budget_ms, found, flush=True)
            if found is not None:
                append(arguments.rows, found)


def run_train(arguments: argparse.Namespace) -> None:
    """Train every fitted network with every seed that has no row yet."""
    fits, trainings = read(arguments.rows)
    fits = [row for row in fits if row.mixer in (arguments.mixers or KINDS)]
    source = open_data(arguments.data)
    steps = search_recipe(arguments.recipe, source, 1).steps
    done = {(row.mixer, row.data, row.budget_ms, row.steps, row.seed) for row in trainings}
    for seed in range(arguments.seeds):
        for row in fits:
            key = (row.mixer, source.name, row.budget_ms, steps, seed)
            if key in done or row.image_size != source.image_size or row.budget_ms not in arguments.budgets_ms:
                continue
            made = network(row.mixer, row.width, source.image_size, source.in_chans, source.num_classes)
            assert made is not None
            score = run_one(made.to_spec(), arguments.data, 1, seed, seed, arguments.recipe)
            append(arguments.rows, Training(row.mixer, source.name, row.budget_ms, row.width, steps, seed, score.top1))
            print(key, f"{score.top1:.4f} in {score.duration_s:.1f} s", flush=True)


def report(fits: list[Fit], trainings: list[Training]) -> Iterator[str]:
    """Two tables: accuracies, by mean place over all data sets and budgets, and the networks that reached them."""
    found: dict[tuple[str, float, int], dict[str, list[float]]] = {}
    for row in trainings:
        column = found.setdefault((row.data, row.budget_ms, row.steps), {})
        column.setdefault(row.mixer, []).append(row.top1)
    columns = dict(sorted(found.items()))
    titles = [f"{data}, {steps} steps, {budget_ms:g} ms" for data, budget_ms, steps in columns]
    yield f"| mixer | {' | '.join(titles)} | mean place |"
    yield f"|---|{'---|' * len(titles)}---|"
    places = mean_places(list(columns.values()))
    for mixer in sorted(places, key=lambda name: places[name]):
        cells = [spread_text(column.get(mixer, [])) for column in columns.values()]
        yield f"| {mixer} | {' | '.join(cells)} | {places[mixer]:.1f} |"
    budgets = sorted({row.budget_ms for row in fits})
    by_place = {(row.mixer, row.budget_ms): row for row in fits}
    yield ""
    yield f"| latency, ms; width; params; MMACs | {' | '.join(f'at most {each:g} ms' for each in budgets)} |"
    yield f"|---|{'---|' * len(budgets)}"
    for mixer in sorted({row.mixer for row in fits}):
        cells = [_network_text(by_place.get((mixer, budget_ms))) for budget_ms in budgets]
        yield f"| {mixer} | {' | '.join(cells)} |"


def mean_places(columns: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """Mixer -> its mean place by mean top1, 1 for the best, over the columns that have it."""
    places: dict[str, list[int]] = {}
    for column in columns:
        means = {mixer: float(np.mean(top1)) for mixer, top1 in column.items()}
        for place, mixer in enumerate(sorted(means, key=lambda name: -means[name]), start=1):
            places.setdefault(mixer, []).append(place)
    return {mixer: float(np.mean(found)) for mixer, found in places.items()}


def _network_text(fitted: Fit | None) -> str:
    if fitted is None:
        return ""
    return f"{fitted.latency_ms:.2f}; {fitted.width}; {fitted.param_count:,}; {fitted.macs / 1e6:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fit", "train", "report"))
    parser.add_argument("--data", default="digits")
    parser.add_argument("--budgets-ms", type=float, nargs="+", default=[3.5, 6.0])
    parser.add_argument("--recipe", help="of the trainings: a name or a JSON file; that of a search by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--mixers", nargs="+", help="names; all by default")
    parser.add_argument("--rows", type=Path, default=ROWS, help="row file")
    arguments = parser.parse_args()
    if arguments.what == "fit":
        run_fit(arguments)
    elif arguments.what == "train":
        run_train(arguments)
    else:
        print("\n".join(report(*read(arguments.rows))))


if __name__ == "__main__":
    main()
