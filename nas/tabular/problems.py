"""Recorded problems: two tables of real networks in a data folder, and a synthetic one whose front is known."""

import csv
import gzip
import itertools
import zipfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np

from nas.errors import InvalidInputError
from nas.pareto.front import hypervolume
from nas.records import Gene
from nas.tabular.recorded import Levels, RecordedProblem

ACCEL_COSTS = {"accel_vck190": "log_lat_vck190", "accel_a100": "log_ms_per_img_a100"}
PROBLEMS = ("macro", *ACCEL_COSTS, "synthetic")
SYNTHETIC_GENES = 8
SYNTHETIC_LEVELS = 4


def open_problem(name: str, folder: Path, known: bool) -> RecordedProblem:
    """Open a recorded problem.

    Args:
        folder: with macro.csv.gz, accel_surrogate.npz and accel_front.npz; `synthetic` needs none.
        known: whether the cost is known before training.

    Raises:
        InvalidInputError: if there is no such problem, or its files are missing.
    """
    if name not in PROBLEMS:
        raise InvalidInputError(f"unknown problem {name!r}; expected one of {', '.join(PROBLEMS)}")
    try:
        if name == "synthetic":
            return _synthetic(known)
        return _macro(folder, known) if name == "macro" else _accel(name, folder, known)
    # Absent, or not what the name says.
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
        raise InvalidInputError(
            f"the data of problem {name!r} cannot be read in {folder}: {reason}; give their folder as --data"
        ) from error


def _gene(name: str, levels: int, ordered: bool) -> Gene:
    return Gene(name, tuple(range(levels)), ordered, name)


def _synthetic(known: bool) -> RecordedProblem:
    """Each gene's level costs time; a hidden order of the genes says which pays best, so the front spends on the best
    payers first."""
    worth = 1 / (1 + np.arange(SYNTHETIC_GENES))

    def accuracy(levels: Levels) -> float:
        return 50 + 40 * float(worth @ np.sqrt(np.array(levels) / (SYNTHETIC_LEVELS - 1))) / float(worth.sum())

    def cost(levels: Levels) -> float:
        return 1.0 + sum(levels)

    results = [
        (accuracy(levels), cost(levels))
        for levels in itertools.product(range(SYNTHETIC_LEVELS), repeat=SYNTHETIC_GENES)
    ]
    reference = float(np.median([accuracy for accuracy, _ in results])), cost((SYNTHETIC_LEVELS - 1,) * SYNTHETIC_GENES)
    genes = tuple(_gene(f"g{i}", SYNTHETIC_LEVELS, True) for i in range(SYNTHETIC_GENES))
    front = hypervolume(results, reference)
    return RecordedProblem("synthetic", genes, accuracy, cost, cost if known else None, reference, front)


def _macro(folder: Path, known: bool) -> RecordedProblem:
    """NAS-Bench-Macro: xiusu/NAS-Bench-Macro at 61a2bfc2ca0d, Apache-2.0. Mean accuracy of three trainings against
    flops."""
    with gzip.open(folder / "macro.csv.gz", "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    results: dict[Levels, tuple[float, float]] = {}
    for row in rows:
        levels = tuple(int(row[f"b{i}"]) for i in range(8))
        results[levels] = float(row["acc_mean"]), float(row["flops"])

    def cost(levels: Levels) -> float:
        return results[levels][1]

    accuracies, costs = np.array(list(results.values())).T
    reference = float(np.median(accuracies)), float(costs.max())
    genes = tuple(_gene(f"b{i}", 3, False) for i in range(8))
    front = hypervolume(results.values(), reference)
    return RecordedProblem(
        "macro", genes, lambda levels: results[levels][0], cost, cost if known else None, reference, front
    )


def _accel(name: str, folder: Path, known: bool) -> RecordedProblem:
    """Accel-NASBench: afzalxo/Accel-NASBench at 42603572d530, Apache-2.0. Ridge fits of measured networks on one-hot
    features and pairs."""
    with np.load(folder / "accel_surrogate.npz", allow_pickle=False) as data:
        counts = data["n_levels"]
        names = data["genes"]
        accuracy_weights = data["acc"].astype(float)
        cost_weights = data[ACCEL_COSTS[name]].astype(float)
    with np.load(folder / "accel_front.npz", allow_pickle=False) as data:
        front = data[ACCEL_COSTS[name]]
        reference = data[ACCEL_COSTS[name] + "_ref"]
    gene = np.repeat(np.arange(len(counts)), counts - 1)
    level = np.concatenate([np.arange(1, count) for count in counts])
    first, second = np.triu_indices(len(gene), 1)
    apart = gene[first] != gene[second]
    first = first[apart]
    second = second[apart]

    def predict(weights: np.ndarray, levels: Levels) -> float:
        hot = np.array(levels)[gene] == level
        return float(
            weights[0] + weights[1 : 1 + len(gene)] @ hot + weights[1 + len(gene) :] @ (hot[first] & hot[second])
        )

    def cost(levels: Levels) -> float:
        return float(np.exp(predict(cost_weights, levels)))

    accuracy = cache(lambda levels: predict(accuracy_weights, levels))
    cost = cache(cost)
    genes = tuple(_gene(str(n), int(count), not str(n).endswith("_se")) for n, count in zip(names, counts, strict=True))
    point = float(reference[0]), float(reference[1])
    full = hypervolume([(float(accuracy), float(np.exp(log_cost))) for accuracy, log_cost in front], point)
    return RecordedProblem(name, genes, accuracy, cost, cost if known else None, point, full)
