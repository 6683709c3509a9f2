"""Is it better to predict from genes, or from what stands in the network? Over recorded trainings, nothing simulated.

    OMP_NUM_THREADS=1 python -m benchmarks.traits

The first table learns from some of the recorded random networks of hybrid_nano and predicts the others: R2 and
Kendall's tau of top1, means over random choices. The second searches among the recorded networks alone by expected
hypervolume improvement: after so many trainings the share of all networks' hypervolume. Both see the same choices
and begin with the same ten networks; the difference is paired, with its standard error.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from benchmarks.nano import CHANNELS, NUM_CLASSES
from benchmarks.record import DIGITS, IMAGE_SIZE, IMAGES, ROWS, SPACE
from benchmarks.rows import read_rows
from nas.pareto.front import front_rows, hypervolume
from nas.records import JSON
from nas.samplers.acquisition import expected_improvement
from nas.samplers.ehvi import RANDOM_TRAININGS
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder, Refits
from nas.surrogates.genes import GeneLevels
from nas.surrogates.threads import one_thread
from search_spaces.hybrid_layout import HybridLayout

LEARNED = (30, 60, 120, 200)
TRAINED = (15, 20, 25, 35, 50)
ITERATIONS = 30


@dataclass(frozen=True, slots=True)
class Recorded:
    """Random networks and what their trainings gave."""

    rows_ND: np.ndarray
    """(num_networks, num_genes) int, canonical."""
    top1_N: np.ndarray
    log_macs_N: np.ndarray


def recorded(rows: Sequence[JSON], label: str, space: HybridLayout) -> Recorded:
    """The random part, or on colour images its first networks; both have seed 0 alone."""
    parts = {"random", "images"}
    chosen = [row for row in rows if row["kind"] == "training" and row["data"] == label and row["part"] in parts]
    trained = [row for row in chosen if row["failed"] is None]
    levels = GeneLevels(space.genes)
    return Recorded(
        levels.canonical(levels.matrix([row["levels"] for row in trained])),
        np.array([row["top1"][-1] for row in trained]),
        np.log([row["macs"] for row in trained]),
    )


def predicted(encoder: GeneEncoder, networks: Recorded, learned: np.ndarray) -> tuple[float, float]:
    """R2 and tau over those that were not learned from."""
    rest = np.setdiff1d(np.arange(len(networks.top1_N)), learned)
    process = GaussianProcess(encoder)
    process.fit(networks.rows_ND[learned], networks.log_macs_N[learned], networks.top1_N[learned], ITERATIONS)
    mean = process.mean(networks.rows_ND[rest], networks.log_macs_N[rest])
    top1 = networks.top1_N[rest]
    r2 = 1 - float(((mean - top1) ** 2).mean() / top1.var())
    return r2, float(kendalltau(mean, top1).statistic)


def searched(encoder: GeneEncoder, networks: Recorded, first: Sequence[int]) -> list[float]:
    """Shares of the hypervolume after TRAINED trainings, the first given."""
    top1 = networks.top1_N
    log_macs = networks.log_macs_N
    reference = float(np.median(top1)), float(np.quantile(log_macs, 0.99))
    points = list(zip(top1.tolist(), np.exp(log_macs).tolist(), strict=True))
    corner = reference[0], float(np.exp(reference[1]))
    process = GaussianProcess(encoder)
    refits = Refits()
    trained = list(first)
    while len(trained) < max(TRAINED):
        own = np.array(trained)
        process.fit(networks.rows_ND[own], log_macs[own], top1[own], refits.iterations(len(own)))
        members = own[front_rows(top1[own], log_macs[own])]
        mean, sd = process.predict(networks.rows_ND, log_macs)
        growth = expected_improvement(mean, sd, log_macs, (top1[members], log_macs[members]), reference)
        growth[own] = -1
        trained.append(int(growth.argmax()))
    whole = hypervolume(points, corner)
    found = [points[place] for place in trained]
    return [hypervolume(found[:count], corner) / whole for count in TRAINED]


def report(networks: Recorded, encoders: Mapping[str, GeneEncoder], repeats: int) -> None:
    """Print both tables."""
    num = len(networks.top1_N)
    orders = [np.random.default_rng(seed).permutation(num) for seed in range(repeats)]
    counts = [count for count in LEARNED if count <= num // 2]
    print(f"{num} networks, {repeats} choices; held out, R2 and tau after " + ", ".join(map(str, counts)))
    for name, encoder in encoders.items():
        cells = []
        for count in counts:
            r2, tau = np.mean([predicted(encoder, networks, order[:count]) for order in orders], axis=0)
            cells.append(f"{r2:.3f} {tau:.3f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print("searched, share of the hypervolume after " + ", ".join(map(str, TRAINED)))
    shares = {}
    for name, encoder in encoders.items():
        firsts = [order[:RANDOM_TRAININGS].tolist() for order in orders]
        shares[name] = np.array([searched(encoder, networks, first) for first in firsts])
        print(f"| {name} | {_cells(shares[name].mean(axis=0))} |", flush=True)
    gain = shares["traits"] - shares["genes"]
    print(f"| difference | {_cells(gain.mean(axis=0))} |")
    print(f"| its standard error | {_cells(gain.std(axis=0, ddof=1) / np.sqrt(repeats))} |")


def _cells(numbers: np.ndarray) -> str:
    return " | ".join(f"{number:.3f}" for number in numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=ROWS, help="of benchmarks.record")
    parser.add_argument("--data", choices=(DIGITS, IMAGES), default=DIGITS)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    space = HybridLayout(SPACE["scale"], IMAGE_SIZE, CHANNELS[arguments.data], NUM_CLASSES, SPACE["mixers"])
    networks = recorded(read_rows(arguments.rows), arguments.data, space)
    encoders = {
        "genes": GeneEncoder.of_genes(space.genes),
        "traits": GeneEncoder.of_genes(space.genes, space.traits),
    }
    with one_thread():
        report(networks, encoders, arguments.repeats)


if __name__ == "__main__":
    main()
