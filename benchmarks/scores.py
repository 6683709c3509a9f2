"""What scores of every quality are worth to `ehvi` on recorded problems, paired by seeds with searches without one.

    OMP_NUM_THREADS=1 python -m benchmarks.scores macro --seeds 20 --rows scores.jsonl

A score is the accuracy of the record with noise, so much that Kendall's tau of both over random architectures is the
one wanted. `reversed` is the accuracy with the other sign, `noise` is nothing else. Costs are known before training.
Where the record knows the luck of one training, the accuracy of a score is without it.
Rows that exist are not computed again; the seeds of a row are those of the search and of the noise.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.made_up import SHAPES, make_problem
from benchmarks.rows import append_row, read_rows
from hybrid_nas.problems import open_problem
from nas.pareto.front import hypervolume
from nas.records import JSON
from nas.tabular.recorded import Levels, RecordedProblem, RecordedScore
from nas.tabular.simulator import simulate
from nas.text import text_table

TAUS = {"tau .7": 0.7, "tau .5": 0.5, "tau .2": 0.2}
QUALITIES = ("perfect", *TAUS, "noise", "reversed")
HELPFUL = ("perfect", "tau .7", "tau .5")
PLAIN = "plain"
AT = (25, 50, 100)
"""Trainings after which the hypervolume is taken."""
WORKERS = (1, 8)
NUM_SAMPLED = 1000
BISECTIONS = 25
LARGEST_NOISE = 100.0
"""In standard deviations of the accuracy."""
MAX_LOSS = -0.01
"""Least lower bound of what a score may change on average."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of search, over all its seeds."""

    problem: str
    workers: int
    quality: str
    gains_SN: np.ndarray
    """(num_seeds, len(AT)): hypervolume with the score less that without, as shares of the true front's."""


def score_of(problem: RecordedProblem, quality: str, seed: int) -> RecordedScore:
    """A score of this quality, the same for equal seeds."""
    signs = {"perfect": 1.0, "noise": 0.0, "reversed": -1.0}
    sign = signs.get(quality, 1.0)
    noise = 1.0 if quality == "noise" else 0.0
    if quality in TAUS:
        noise = _noise_for(problem, TAUS[quality])

    def score(rows: Sequence[Levels]) -> np.ndarray:
        # Without the luck of one training, which no score can know.
        accuracy = problem.expected_percent(rows)
        return sign * accuracy + noise * np.array([_normal(levels, seed) for levels in rows])

    return RecordedScore(quality, score)


def _noise_for(problem: RecordedProblem, tau: float) -> float:
    """Standard deviation of the noise that leaves this tau over random architectures."""
    rng = np.random.default_rng(0)
    accuracy = problem.expected_percent(problem.random_rows(NUM_SAMPLED, rng))
    drawn = rng.normal(size=NUM_SAMPLED)
    low = 0.0
    high = LARGEST_NOISE * float(accuracy.std())
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if stats.kendalltau(accuracy, accuracy + middle * drawn).statistic > tau:
            low = middle
        else:
            high = middle
    return low


def _normal(levels: Levels, seed: int) -> float:
    return float(np.random.default_rng([seed, *levels]).normal())


@cache
def opened(name: str, data: Path) -> RecordedProblem:
    """A recorded problem by its name, or a made-up one by that of its shape."""
    return make_problem(name, 0) if name in SHAPES else open_problem(name, data, True)


def searched(row: JSON, data: Path) -> JSON:
    """The row with the shares of the true front's hypervolume after AT trainings."""
    problem = opened(row["problem"], data)
    scores = () if row["quality"] == PLAIN else (score_of(problem, row["quality"], row["seed"]),)
    points = simulate(problem, "ehvi", row["seed"], max(AT), workers=row["workers"], scores=scores).points
    shares = [hypervolume(points[:num], problem.reference_point) / problem.front_hypervolume for num in AT]
    return {**row, "hypervolume": shares}


def missing(rows: Sequence[JSON], problems: Sequence[str], qualities: Sequence[str], num_seeds: int) -> list[JSON]:
    """Rows that are to be computed, seed by seed."""
    done = set(map(_key, rows))
    kinds = itertools.product(range(num_seeds), problems, WORKERS, (PLAIN, *qualities))
    wanted: list[JSON] = [
        {"problem": problem, "workers": workers, "quality": quality, "seed": seed}
        for seed, problem, workers, quality in kinds
    ]
    return [row for row in wanted if _key(row) not in done]


def _key(row: JSON) -> tuple[str, int, str, int]:
    return row["problem"], row["workers"], row["quality"], row["seed"]


def cells(rows: Sequence[JSON]) -> Iterator[Cell]:
    """Every kind of search with a score, paired by seed with the one without."""
    shares = {_key(row): np.array(row["hypervolume"]) for row in rows}
    kinds = dict.fromkeys(key[:3] for key in shares if key[2] != PLAIN)
    for problem, workers, quality in kinds:
        seeds = [key[3] for key in shares if key[:3] == (problem, workers, quality)]
        paired = [seed for seed in seeds if (problem, workers, PLAIN, seed) in shares]
        gains = [shares[problem, workers, quality, seed] - shares[problem, workers, PLAIN, seed] for seed in paired]
        if gains:
            yield Cell(problem, workers, quality, np.array(gains))


def low_95(values: np.ndarray) -> float:
    """Lower end of the 95 % interval of the mean, by Student's t."""
    if len(values) < 2:
        return float("nan")
    spread = float(values.std(ddof=1)) / np.sqrt(len(values))
    return float(values.mean() - stats.t.ppf(0.975, len(values) - 1) * spread)


def cells_text(found: Sequence[Cell]) -> str:
    """Mean gain and its lower bound in each cell."""
    header = ["problem", "workers", "quality", "seeds"]
    for num in AT:
        header += [f"gain {num}", f"low {num}"]
    return text_table(header, [_cell_texts(cell) for cell in found], right=6)


def _cell_texts(cell: Cell) -> Sequence[str]:
    numbers: list[str] = []
    for gains in cell.gains_SN.T:
        numbers += [f"{gains.mean():+.3f}", f"{low_95(gains):+.3f}"]
    return cell.problem, str(cell.workers), cell.quality, str(len(cell.gains_SN)), *numbers


def pooled_text(found: Sequence[Cell]) -> str:
    """All cells of a quality together: every paired search is one value for each of its hypervolumes."""
    lines = []
    for quality in dict.fromkeys(cell.quality for cell in found):
        gains = np.vstack([cell.gains_SN for cell in found if cell.quality == quality])
        # The hypervolumes of one search are no independent values, so their mean is one.
        low = low_95(gains.mean(axis=1))
        lines.append(_verdict(f"{quality}, at {AT} together", gains.mean(), low, low > MAX_LOSS, f"> {MAX_LOSS}"))
        if quality in HELPFUL:
            later = gains[:, 1:].mean(axis=1)
            lines.append(_verdict(f"{quality}, at {AT[1:]}", later.mean(), low_95(later), low_95(later) > 0, "> 0"))
    return "\n".join(lines)


def _verdict(what: str, gain: float, low: float, holds: bool, wanted: str) -> str:
    return f"{what}: gain {gain:+.4f}, lower 95 % bound {low:+.4f}, {wanted} {'holds' if holds else 'DOES NOT HOLD'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="+", help=f"recorded problems, or made-up ones: {', '.join(SHAPES)}")
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0 to this, without it")
    parser.add_argument("--quality", action="append", choices=QUALITIES, help="all by default")
    parser.add_argument("--data", type=Path, default=Path("shared/tabular"))
    parser.add_argument("--rows", type=Path, default=Path("scores.jsonl"))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    left = missing(read_rows(options.rows), options.problems, options.quality or QUALITIES, options.seeds)
    with ProcessPoolExecutor(options.jobs) as processes:
        for row in processes.map(searched, left, itertools.repeat(options.data)):
            append_row(options.rows, row)
    found = [cell for cell in cells(read_rows(options.rows)) if cell.problem in options.problems]
    print(cells_text(found))
    print(pooled_text(found))


if __name__ == "__main__":
    main()
