"""Does search pay? Points of a front beside published layouts of the same speed, all trained fully by one recipe.

    python -m benchmarks.search_pays time --study NAME --storage URL    # quiet, minutes
    python -m benchmarks.search_pays train --study NAME --seeds 3    # goes on where it was stopped
    python -m benchmarks.search_pays report

The points are the fastest, the knee and the most accurate of the front. Beside each stands, of every family, the
published layout as the study's space projects it, at the width whose latency is nearest. `time` measures all of them,
sitting by sitting, and then notes what `train` needs of the search, so that `train` goes on without the database. Each
network gets the recipe of `finalize` without tuning, and is scored on the test images. Every network gets its first
training before any gets a second. A folder needs `test` beside `train` and `val`.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.rows import append_row, read_rows
from hybrid_nas import api
from nas.errors import InvalidInputError
from nas.finalists.plan import FinalJob
from nas.pareto.picks import pick_trial
from nas.protocols import Failed, SearchSpace
from nas.records import JSON, Genotype, StudyRecord, facts_by_number
from nas.text import json_hash
from search_spaces.architecture.costs import costs
from search_spaces.architecture.spec import Architecture
from search_spaces.build import build_model
from search_spaces.registry import make_space
from workers.data.registry import open_data
from workers.evaluate import EvaluationContext
from workers.evaluation import EvaluationConfig
from workers.finalists.training import FinalRung, train_finalist
from workers.latency.device_lock import DeviceLock
from workers.latency.measure import measure
from workers.latency.target import LatencyTarget
from workers.recipe import Recipe
from workers.training.recipes import final_recipe

ROWS = Path(__file__).parents[1] / "docs" / "measurements" / "search_pays.jsonl"
TARGET = "cpu:threads=1,batch=1"
FAMILIES = ("groupmixformer", "linglo_alternate", "linglo_fused", "convnext", "coatnet")
PICKS = ("latency", "knee", "accuracy")


@dataclass(frozen=True, slots=True)
class Searched:
    """A search whose networks were all timed, and how they are trained."""

    study: str
    evaluated: int
    data: str
    recipe: JSON
    seed: int


@dataclass(frozen=True, slots=True)
class Timed:
    """A network and its latency."""

    study: str
    network: str
    """The pick of the front, or FAMILY/LEVEL with the level of its widths."""
    spec: JSON
    sittings_ms: list[float]
    """Latency in each sitting."""
    param_count: int

    @property
    def latency_ms(self) -> float:
        """The median of the sittings."""
        return statistics.median(self.sittings_ms)


@dataclass(frozen=True, slots=True)
class Trained:
    """One full training."""

    study: str
    network: str
    seed: int
    steps: int
    validation_top1: float
    test_top1: float | None


Row = TypeVar("Row", Searched, Timed, Trained)


def networks(record: StudyRecord, storage: str) -> Iterator[tuple[str, JSON]]:
    """Names and specs of the points, and of the families at every width."""
    study = api.open_study(record.name, storage=storage)
    facts = facts_by_number(study.trials)
    for pick in PICKS:
        yield pick, pick_trial(pick, study.front, facts, record.cost_objective).spec
    source = open_data(record.data_location)
    space = make_space(record.space, record.scale, source.image_size, source.in_chans, source.num_classes, "core")
    for family in FAMILIES:
        for level, genotype in enumerate(_widths(space, space.presets()[family])):
            yield f"{family}/{level}", space.architecture(genotype).to_spec()


def _widths(space: SearchSpace, genotype: Genotype) -> Iterator[Genotype]:
    """The layout with the n-th width of every stage, for every n."""
    genes = [gene for gene in space.genes if gene.name.endswith("_width")]
    for level in range(min(len(gene.values) for gene in genes)):
        yield space.repair(genotype | {gene.name: gene.values[level] for gene in genes})


def run_time(arguments: argparse.Namespace) -> None:
    """Time every network that has no row yet: all of them in each sitting, as the pace of a machine changes."""
    study = api.open_study(arguments.study, storage=arguments.storage)
    record = study.record
    source = open_data(record.data_location)
    done = {row.network for row in read(arguments.rows, Timed, record.name)}
    lock = DeviceLock("cpu", Path(tempfile.mkdtemp(prefix="search-pays-locks-")))
    found = {name: Architecture.from_spec(spec) for name, spec in networks(record, arguments.storage)}
    sittings: dict[str, list[float]] = {name: [] for name in found if name not in done}
    for sitting in range(1, arguments.sittings + 1):
        for name, timings in sittings.items():
            latency = measure(build_model(found[name]), LatencyTarget.parse(TARGET), source.input_shape, lock)
            timings.append(latency.median_ms)
            print(f"sitting {sitting}: {name} {latency.median_ms:.3f} ms", flush=True)
    for name, timings in sittings.items():
        parameters = costs(found[name]).param_count
        _write(arguments.rows, Timed(record.name, name, found[name].to_spec(), timings, parameters))
    if not read(arguments.rows, Searched, record.name):
        evaluated = sum(trial.is_counted for trial in study.trials)
        recipe = final_recipe(None, record.recipe, source).to_json()
        _write(arguments.rows, Searched(record.name, evaluated, record.data_location, recipe, record.seed))


def compared(timed: Sequence[Timed]) -> list[tuple[Timed, list[Timed]]]:
    """Each point with the nearest network of every family; of equal ones at several widths the last stands for all."""
    points = [row for row in timed if row.network in PICKS]
    pairs = []
    for point in points:
        nearest = []
        for family in FAMILIES:
            offered = {json_hash(row.spec): row for row in timed if row.network.startswith(f"{family}/")}
            nearest.append(min(offered.values(), key=lambda row: abs(np.log(row.latency_ms / point.latency_ms))))
        pairs.append((point, nearest))
    return pairs


def needed(timed: Sequence[Timed]) -> dict[str, Timed]:
    """The points and then their rivals by name, each once."""
    pairs = compared(timed)
    networks = {point.network: point for point, _ in pairs}
    for _, nearest in pairs:
        networks |= {row.network: row for row in nearest}
    return networks


def run_train(arguments: argparse.Namespace) -> None:
    """Train every network of the comparison with every seed that has no row yet."""
    searched = _searched(arguments.rows, arguments.study)
    data = arguments.data or searched.data
    recipe = Recipe.from_json(searched.recipe)
    folder = tempfile.mkdtemp(prefix="search-pays-locks-")
    context = EvaluationContext(EvaluationConfig(data=data, recipe=recipe, lock_folder=folder))
    done = {(row.network, row.seed) for row in read(arguments.rows, Trained, searched.study)}
    networks = needed(read(arguments.rows, Timed, searched.study))
    for seed in range(1, arguments.seeds + 1):
        for number, (name, row) in enumerate(networks.items()):
            if (name, seed) in done:
                continue
            job = FinalJob(number, row.spec, recipe.to_json(), recipe.hash, searched.seed + seed, "final")
            rung = train_whole(job, context, arguments.work / searched.study / name)
            result = Trained(searched.study, name, seed, recipe.steps, rung.score.top1, rung.test_top1)
            _write(arguments.rows, result)
            print(result, flush=True)


def _searched(path: Path, study: str) -> Searched:
    """Raises InvalidInputError where no search of that name was timed."""
    known = {row.study: row for row in read(path, Searched)}
    if study not in known:
        raise InvalidInputError(
            f"{path} has no search {study!r}; expected one of {', '.join(known) or 'none'}: "
            "write it with `time --study NAME --storage URL` first"
        )
    return known[study]


def train_whole(job: FinalJob, context: EvaluationContext, folder: Path) -> FinalRung:
    """The last rung of a full training, whose checkpoint lies in a folder of its own until then."""
    folder.mkdir(parents=True, exist_ok=True)
    training = train_finalist(job, context, folder)
    event = next(training)
    while isinstance(event, FinalRung) and not event.last:
        event = training.send(True)
    training.close()
    if isinstance(event, Failed):
        raise RuntimeError(f"{job.spec}: {event.reason}")
    shutil.rmtree(folder)
    return event


def report(path: Path, seeds: int) -> Iterator[str]:
    """One table a search, headed by how many were trained: points and rivals, with paired differences."""
    for searched in read(path, Searched):
        timed = read(path, Timed, searched.study)
        networks = needed(timed)
        trained = [row for row in read(path, Trained, searched.study) if row.network in networks]
        count = f"{len(trained)} of {len(networks) * seeds} trainings"
        yield f"\n{searched.study} ({searched.evaluated} evaluated), {searched.data}: {count}\n"
        yield "| | network | latency, ms | params | seeds | top1 on test | minus the point's |"
        yield "|---|---|---|---|---|---|---|"
        scores: dict[str, dict[int, float]] = {}
        for training in trained:
            if training.test_top1 is not None:
                scores.setdefault(training.network, {})[training.seed] = training.test_top1
        for point, nearest in compared(timed):
            for row in (point, *nearest):
                yield _line(point, row, scores)


def _line(point: Timed, row: Timed, scores: dict[str, dict[int, float]]) -> str:
    own = scores.get(row.network, {})
    top1 = np.array(list(own.values()))
    mean = f"{top1.mean():.4f}" if len(top1) else ""
    spread = f" ({top1.std(ddof=1):.4f})" if len(top1) > 1 else ""
    difference = "" if row is point else _difference(own, scores.get(point.network, {}))
    name = "**the front's**" if row is point else row.network
    return (
        f"| {point.network} | {name} | {_latency_text(row)} | {row.param_count:,} | {len(top1)} | "
        f"{mean}{spread} | {difference} |"
    )


def _latency_text(row: Timed) -> str:
    """The median, and the range of several sittings."""
    if len(row.sittings_ms) == 1:
        return f"{row.latency_ms:.2f}"
    return f"{row.latency_ms:.2f} ({min(row.sittings_ms):.2f} to {max(row.sittings_ms):.2f})"


def _difference(own: dict[int, float], of_point: dict[int, float]) -> str:
    """Mean paired difference, with its standard error from two seeds on."""
    paired = np.array([own[seed] - of_point[seed] for seed in sorted(own.keys() & of_point.keys())])
    if not len(paired):
        return ""
    if len(paired) == 1:
        return f"{paired[0]:+.4f}"
    return f"{paired.mean():+.4f} ({paired.std(ddof=1) / len(paired) ** 0.5:.4f})"


def read(path: Path, kind: type[Row], study: str | None = None) -> list[Row]:
    """Rows of one kind, of one study or of all."""
    rows = []
    for row in read_rows(path):
        if row.pop("kind") == kind.__name__.lower() and study in (None, row["study"]):
            rows.append(kind(**row))
    return rows


def _write(path: Path, row: Searched | Timed | Trained) -> None:
    append_row(path, {"kind": type(row).__name__.lower(), **asdict(row)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "train", "report"))
    parser.add_argument("--study", help="a study of the space hybrid_layout")
    parser.add_argument("--storage", help="database of the study; for time alone")
    parser.add_argument("--data", help="where the data of the study lie now; where they lay then, by default")
    parser.add_argument("--sittings", type=int, default=3, help="for time alone")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--work", type=Path, default=Path("runs/search_pays"), help="folder of unfinished trainings")
    arguments = parser.parse_args()
    if arguments.what == "time":
        run_time(arguments)
    elif arguments.what == "train":
        run_train(arguments)
    else:
        print("\n".join(report(arguments.rows, arguments.seeds)))


if __name__ == "__main__":
    main()
