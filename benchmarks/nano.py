"""The table of hybrid_nano, from the rows of benchmarks/record.py.

    OMP_NUM_THREADS=1 python -m benchmarks.nano compare    # which surrogate predicts what it has not seen
    OMP_NUM_THREADS=1 python -m benchmarks.nano build      # writes nas/tabular/hybrid_nano.json.gz
    python -m benchmarks.nano card                         # prints how the shipped one was made

`compare` holds out a fifth of the architectures at a time. Its surrogates are those of benchmarks/surrogates.py, on
genes, on traits (what stands in each stage), and on blocks (what stands at each place). `build` fits a Gaussian process
for each recorded number. The front that stands for the true one is that of a long evolution which may ask the surrogate
about everything.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from benchmarks.made_up import evolved
from benchmarks.record import DIGITS, IMAGE_SIZE, IMAGES, ROWS, SPACE, seed_spread
from benchmarks.rows import read_rows
from benchmarks.surrogates import MODELS
from nas.errors import InvalidInputError, NasError
from nas.files import write_whole
from nas.protocols import traits_of
from nas.records import JSON, Value
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder, Surrogate
from nas.surrogates.genes import GeneLevels
from nas.surrogates.quality import held_out
from nas.tabular.nano import ABSENT, CURVE, FILE, LATENCY, NanoTable, features_of, open_table, read_file
from nas.text import json_hash
from search_spaces.hybrid_layout import HybridLayout

ITERATIONS = 60
"""Largest number of steps of the fit of a surrogate."""
NUM_SAMPLED = 3_000
"""Random architectures from which the values of features are taken."""
DIGITS_KEPT = 4
"""Decimals of the hyperparameters, which are logarithms."""
MAX_BYTES = 1_000_000
MIN_TRAININGS = 20
CHANNELS = {DIGITS: 1, IMAGES: 3}
NUM_CLASSES = 10
BEST = 0.2
"""Share of the architectures among which order matters most."""


def make_table(rows: Sequence[JSON], label: str) -> JSON:
    """Everything of one data set but what is fitted."""
    trainings = [row for row in rows if row["kind"] == "training" and row["data"] == label and row["failed"] is None]
    by_hash = {row["architecture"]: row for row in trainings}
    timed = {row["architecture"]: row for row in rows if row["kind"] == "latency"} if label == DIGITS else {}
    space = HybridLayout(SPACE["scale"], IMAGE_SIZE, CHANNELS[label], NUM_CLASSES, SPACE["mixers"])
    number_of = {architecture: number for number, architecture in enumerate(by_hash)}
    names = sorted(set(chain.from_iterable(row["scores"] for row in trainings)))
    return {
        "setting": {"image_size": IMAGE_SIZE, "in_chans": CHANNELS[label], "num_classes": NUM_CLASSES},
        "space_hash": _single(trainings, "space"),
        "recipe": _single(trainings, "recipe"),
        "images": _single(trainings, "images"),
        "version": max(row["version"] for row in trainings),
        "machines": sorted({row["machine"] for row in trainings}),
        "latency_target": next((row["target"] for row in timed.values()), None),
        "vocabulary": find_vocabulary(space),
        "architectures": {
            "levels": [row["levels"] for row in by_hash.values()],
            "param_count": [row["param_count"] for row in by_hash.values()],
            "macs": [row["macs"] for row in by_hash.values()],
            LATENCY: [timed[name]["median_ms"] if name in timed else None for name in by_hash],
            "latency_low_ms": [timed[name]["ci_low_ms"] if name in timed else None for name in by_hash],
            "latency_high_ms": [timed[name]["ci_high_ms"] if name in timed else None for name in by_hash],
        },
        "trainings": {
            "architecture": [number_of[row["architecture"]] for row in trainings],
            "seed": [row["seed"] for row in trainings],
            "part": [row["part"] for row in trainings],
            "steps": trainings[0]["steps"],
            "top1": [row["top1"] for row in trainings],
            "cpu_s": [row["cpu_s"][-1] for row in trainings],
            "scores": {name: _rounded_scores(trainings, name) for name in names},
        },
        "surrogates": {},
        "fronts": {},
    }


def _single(rows: Sequence[JSON], name: str) -> str:
    """What all rows agree on.

    Raises:
        InvalidInputError: if they do not, or there are too few.
    """
    if len(rows) < MIN_TRAININGS:
        raise InvalidInputError(
            f"there are {len(rows)} trainings; a table needs {MIN_TRAININGS}: record more with "
            "`python -m benchmarks.record`"
        )
    found = {row[name] for row in rows}
    if len(found) > 1:
        raise InvalidInputError(f"the rows differ in {name!r}: {sorted(found)}; a table holds one of them")
    return str(found.pop())


def _rounded_scores(trainings: Sequence[JSON], name: str) -> list[float | None]:
    scores = [row["scores"].get(name) for row in trainings]
    return [None if score is None else float(f"{score:.6g}") for score in scores]


def find_vocabulary(space: HybridLayout) -> dict[str, list[Value]]:
    """Values of each feature, ABSENT first, then in order; features with a single value are left out."""
    rng = np.random.default_rng(0)
    values: dict[str, set[Value]] = {}
    for _ in range(NUM_SAMPLED):
        for name, value in features_of(space.architecture(space.sample(rng)).to_spec()).items():
            values.setdefault(name, set()).add(value)
    return {name: sorted(found, key=_order) for name, found in values.items() if len(found) > 1}


def _order(value: Value) -> tuple[bool, bool, Value]:
    return value != ABSENT, isinstance(value, str), value


def fit(table: JSON) -> NanoTable:
    """Add hyperparameters and fronts to the table; returns it with its space."""
    opened = open_label(table)
    levels, feature = opened.recorded_inputs
    for name, values in opened.columns.items():
        has = np.isfinite(values)
        process = GaussianProcess(opened.networks.encoder)
        process.fit(levels[has], feature[has], values[has], ITERATIONS)
        table["surrogates"][name] = process.theta.round(DIGITS_KEPT).tolist()
        print(f"fitted {name} on {has.sum()} trainings", flush=True)
    costs: dict[str, Callable[[tuple[int, ...]], float]] = {"macs": opened.macs}
    if LATENCY in opened.columns:
        costs[LATENCY] = lambda row: float(np.exp(opened.expected(LATENCY, [row])[0]))
    num_levels = [len(gene.values) for gene in opened.genes]
    for name, cost in costs.items():
        reference, volume = evolved(
            num_levels,
            lambda row: 100 * float(opened.expected(CURVE[-1], [opened.repair(row)])[0]),
            lambda row, cost=cost: cost(opened.repair(row)),
        )
        table["fronts"][name] = {"reference_point": reference, "hypervolume": volume}
        print(f"front over {name}: reference {reference}, hypervolume {volume:.4f}", flush=True)
    return opened


def open_label(table: JSON) -> NanoTable:
    """The table over its space."""
    return open_table({"card": {"space": SPACE}, "tables": {"one": table}}, "one", HybridLayout)


def build(rows: Sequence[JSON], file: Path) -> None:
    """Write the file of the package."""
    tables: dict[str, JSON] = {}
    for label in (DIGITS, IMAGES):
        if any(row["kind"] == "training" and row["data"] == label for row in rows):
            tables[label] = make_table(rows, label)
            fit(tables[label])
    card = {
        "name": "hybrid_nano",
        "what": "Short trainings of random and proposed architectures of hybrid_layout, with their costs and scores.",
        "how": "python -m benchmarks.record; python -m benchmarks.nano build",
        "made": datetime.now(UTC).date().isoformat(),
        "data": {
            DIGITS: "scikit-learn's digits on canvases of 32 pixels, as workers/data/digits.py makes them",
            IMAGES: "12,000 images of CIFAR-10 (Krizhevsky 2009); numbers only, no images",
        },
        "licence": "Apache-2.0",
        "space": SPACE,
        "counts": {label: _counts(table) for label, table in tables.items()},
        "sha256": json_hash(tables),
    }
    content = gzip.compress(json.dumps({"card": card, "tables": tables}, separators=(",", ":")).encode(), mtime=0)
    if len(content) > MAX_BYTES:
        raise InvalidInputError(f"the table has {len(content):,} bytes; expected at most {MAX_BYTES:,}")
    write_whole(file, content)
    print(f"wrote {file}: {len(content):,} bytes, {card['counts']}")


def _counts(table: JSON) -> JSON:
    return {
        "trainings": len(table["trainings"]["seed"]),
        "architectures": len(table["architectures"]["macs"]),
        "timed": sum(latency is not None for latency in table["architectures"][LATENCY]),
    }


def compare(rows: Sequence[JSON], label: str) -> None:
    """Print how well each kind of surrogate predicts the top1 of architectures that it has not seen."""
    table = make_table(rows, label)
    opened = open_label(table)
    first = [training for training, seed in enumerate(table["trainings"]["seed"]) if seed == 0]
    top1 = opened.columns[CURVE[-1]][first]
    built, feature = (values[first] for values in opened.recorded_inputs)
    genes = opened.space.genes
    levels = np.array(table["architectures"]["levels"])[np.array(table["trainings"]["architecture"])[first]]
    canonical = GeneLevels(genes).canonical(levels)
    spread = seed_spread([row for row in rows if row["kind"] == "training" and row["data"] == label])
    print(f"{label}: {len(top1)} architectures; between seeds {spread:.4f}, between architectures {top1.std():.4f}")
    print("| surrogate | sees | R2 | tau | tau in the best fifth | root mean square error |")
    print("|---|---|---|---|---|---|")
    seen = (
        ("genes", GeneEncoder.of_genes(genes), canonical),
        ("traits", GeneEncoder.of_genes(genes, traits_of(opened.space)), canonical),
        ("blocks", opened.networks.encoder, built),
    )
    for sees, encoder, inputs in seen:
        for name, make in MODELS.items():
            predicted = held_out(len(top1), partial(_predict, partial(make, encoder), inputs, feature, top1))
            print(f"| {name} | {sees} | {_quality(predicted, top1)} |", flush=True)


def _predict(
    make: Callable[[], Surrogate],
    inputs: np.ndarray,
    feature: np.ndarray,
    top1: np.ndarray,
    rest: np.ndarray,
    fold: np.ndarray,
) -> np.ndarray:
    """top1 of the fold by a surrogate that has seen the rest."""
    model = make()
    model.fit(inputs[rest], feature[rest], top1[rest], ITERATIONS)
    return model.predict(inputs[fold], feature[fold])[0]


def _quality(predicted: np.ndarray, top1: np.ndarray) -> str:
    best = np.argsort(-top1)[: max(2, round(BEST * len(top1)))]
    error = predicted - top1
    numbers = (
        1 - error.var() / top1.var(),
        kendalltau(predicted, top1).statistic,
        kendalltau(predicted[best], top1[best]).statistic,
        np.sqrt(np.mean(error**2)),
    )
    return " | ".join(f"{number:.3f}" for number in numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("compare", "build", "card"))
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--data", choices=(DIGITS, IMAGES), default=DIGITS, help="of compare")
    parser.add_argument("--file", type=Path, default=FILE)
    arguments = parser.parse_args()
    try:
        if arguments.what == "compare":
            compare(read_rows(arguments.rows), arguments.data)
        elif arguments.what == "build":
            build(read_rows(arguments.rows), arguments.file)
        else:
            print(json.dumps(read_file(arguments.file)["card"], indent=2))
    except NasError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
