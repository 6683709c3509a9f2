"""Does search pay? Points of a front beside published layouts of the same speed, all trained fully by one recipe.

    python -m benchmarks.search_pays time --study NAME --storage URL    # quiet, minutes
    python -m benchmarks.search_pays train --study NAME --storage URL --seeds 3    # goes on where it was stopped
    python -m benchmarks.search_pays report

The points are the fastest, the knee and the most accurate of the front. Beside each stands, of every family, the
published layout as the study's space projects it, at the width whose latency is nearest. `time` measures all of them in
one sitting. `train` gives each the recipe of `finalize` without tuning, and scores it on the test images.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.rows import append_row, read_rows
from hybrid_nas import api
from nas.finalists.plan import FinalJob
from nas.pareto.picks import pick_trial
from nas.protocols import Failed, SearchSpace
from nas.records import JSON, Genotype, StudyRecord, facts_by_number
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
from workers.training.recipes import final_recipe

ROWS = Path(__file__).parents[1] / "docs" / "measurements" / "search_pays.jsonl"
TARGET = "cpu:threads=1,batch=1"
FAMILIES = ("groupmixformer", "linglo_alternate", "linglo_fused", "convnext", "coatnet")
PICKS = ("latency", "knee", "accuracy")


@dataclass(frozen=True, slots=True)
class Timed:
    """A network and its latency."""

    study: str
    network: str
    """The pick of the front, or FAMILY/LEVEL with the level of its widths."""
    spec: JSON
    latency_ms: float
    param_count: int


@dataclass(frozen=True, slots=True)
class Trained:
    """One full training."""

    study: str
    network: str
    seed: int
    steps: int
    validation_top1: float
    test_top1: float | None


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
    """Time every network that has no row yet."""
    record = api.open_study(arguments.study, storage=arguments.storage).record
    done = {row.network for row in _read(arguments.rows)[0] if row.study == record.name}
    source = open_data(record.data_location)
    lock = DeviceLock("cpu", Path(tempfile.mkdtemp(prefix="search-pays-locks-")))
    for name, spec in networks(record, arguments.storage):
        if name in done:
            continue
        architecture = Architecture.from_spec(spec)
        latency = measure(build_model(architecture), LatencyTarget.parse(TARGET), source.input_shape, lock)
        row = Timed(record.name, name, spec, latency.median_ms, costs(architecture).param_count)
        append_row(arguments.rows, {"kind": "timed", **asdict(row)})
        print(name, f"{latency.median_ms:.3f} ms", flush=True)


def compared(timed: Sequence[Timed]) -> list[tuple[Timed, list[Timed]]]:
    """Each point with the nearest network of every family."""
    points = [row for row in timed if row.network in PICKS]
    pairs = []
    for point in points:
        nearest = []
        for family in FAMILIES:
            offered = [row for row in timed if row.network.startswith(f"{family}/")]
            nearest.append(min(offered, key=lambda row: abs(np.log(row.latency_ms / point.latency_ms))))
        pairs.append((point, nearest))
    return pairs


def run_train(arguments: argparse.Namespace) -> None:
    """Train every network of the comparison with every seed that has no row yet."""
    record = api.open_study(arguments.study, storage=arguments.storage).record
    timed, trained = _read(arguments.rows)
    done = {(row.network, row.seed) for row in trained if row.study == record.name}
    source = open_data(record.data_location)
    recipe = final_recipe(None, record.recipe, source)
    context = EvaluationContext(
        EvaluationConfig(
            data=record.data_location, recipe=recipe, lock_folder=tempfile.mkdtemp(prefix="search-pays-locks-")
        )
    )
    needed: dict[str, Timed] = {}
    for point, nearest in compared([row for row in timed if row.study == record.name]):
        needed |= {row.network: row for row in (point, *nearest)}
    for seed in range(1, arguments.seeds + 1):
        for number, (name, row) in enumerate(needed.items()):
            if (name, seed) in done:
                continue
            job = FinalJob(number, row.spec, recipe.to_json(), recipe.hash, record.seed + seed, "final")
            rung = train_whole(job, context)
            result = Trained(record.name, name, seed, recipe.steps, rung.score.top1, rung.test_top1)
            append_row(arguments.rows, {"kind": "trained", **asdict(result)})
            print(name, seed, result, flush=True)


def train_whole(job: FinalJob, context: EvaluationContext) -> FinalRung:
    """The last rung of a full training."""
    with tempfile.TemporaryDirectory(prefix="search-pays-") as folder:
        training = train_finalist(job, context, Path(folder))
        event = next(training)
        while isinstance(event, FinalRung) and not event.last:
            event = training.send(True)
        training.close()
    if isinstance(event, Failed):
        raise RuntimeError(f"{job.spec}: {event.reason}")
    return event


def report(timed: Sequence[Timed], trained: Sequence[Trained]) -> Iterator[str]:
    """One table a study: points, each followed by its rivals, with paired differences."""
    for study in sorted({row.study for row in trained}):
        yield f"\n{study}\n"
        yield "| | network | latency, ms | params | seeds | top1 on test | minus the point's |"
        yield "|---|---|---|---|---|---|---|"
        scores: dict[str, dict[int, float]] = {}
        for training in trained:
            if training.study == study and training.test_top1 is not None:
                scores.setdefault(training.network, {})[training.seed] = training.test_top1
        for point, nearest in compared([row for row in timed if row.study == study]):
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
        f"| {point.network} | {name} | {row.latency_ms:.2f} | {row.param_count:,} | {len(top1)} | "
        f"{mean}{spread} | {difference} |"
    )


def _difference(own: dict[int, float], of_point: dict[int, float]) -> str:
    """Mean paired difference with its standard error."""
    paired = np.array([own[seed] - of_point[seed] for seed in sorted(own.keys() & of_point.keys())])
    if len(paired) < 2:
        return ""
    return f"{paired.mean():+.4f} ({paired.std(ddof=1) / len(paired) ** 0.5:.4f})"


def _read(path: Path) -> tuple[list[Timed], list[Trained]]:
    timed = []
    trained = []
    for row in read_rows(path):
        if row.pop("kind") == "timed":
            timed.append(Timed(**row))
        else:
            trained.append(Trained(**row))
    return timed, trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "train", "report"))
    parser.add_argument("--study", help="a study of the space hybrid_layout")
    parser.add_argument("--storage")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=Path, default=ROWS)
    arguments = parser.parse_args()
    if arguments.what == "time":
        run_time(arguments)
    elif arguments.what == "train":
        run_train(arguments)
    else:
        print("\n".join(report(*_read(arguments.rows))))


if __name__ == "__main__":
    main()
