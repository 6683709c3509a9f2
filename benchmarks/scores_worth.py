"""What each score that can be had before a training is worth, on the recorded trainings of hybrid_nano.

    OMP_NUM_THREADS=1 python -m benchmarks.scores_worth --seeds 10 --gains scores_worth.jsonl
    python -m benchmarks.scores_worth --seeds 0                    # how scores agree with top1, and no searches

Training-free scores, accuracies after a part of the training, and the accuracy on the other images. Pearson's r with
its 90 % interval and Kendall's tau with its 95 % interval are over the recorded architectures that have both. The gain
is that of gated `ehvi` with one worker over the same without a score, as a share of the hypervolume of the front, at
known macs, with the lower end of its 95 % interval: paired by seeds. There a model of the first recorded networks, at
most as many as a search samples, answers for every other. Searches in the file of gains are not done again.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmarks.record import DIGITS, IMAGES, ROWS
from benchmarks.rows import append_row, read_rows
from benchmarks.scores import AT, low_95
from hybrid_nas.problems import open_problem
from nas.errors import InvalidInputError, NasError
from nas.pareto.front import hypervolume
from nas.records import JSON
from nas.search.scoring import SIZE
from nas.surrogates.proxies import AZ_NAS, PROXIES
from nas.surrogates.quality import FOLDS, agreement
from nas.surrogates.scores import Fidelity, ModelledScore, worth_of
from nas.surrogates.training_free import az_nas_scores
from nas.tabular.recorded import Levels, RecordedProblem
from nas.tabular.simulator import simulate
from nas.text import text_table

PROBLEMS = {DIGITS: "hybrid_nano", IMAGES: "hybrid_nano_images"}
EARLY = ("top1 after 1/8", "top1 after 1/4", "top1 after 1/2")
NOTHING = "no score"
HEADER = (
    "networks",
    "r",
    "90 %",
    "tau",
    "95 %",
    *(f"gain {num}" for num in AT),
    *(f"low {num}" for num in AT),
    "score",
)


def trained(rows: Sequence[JSON], label: str) -> Mapping[Levels, JSON]:
    """Levels -> training with seed 0 on these data, in the order of recording."""
    return {
        tuple(row["levels"]): row
        for row in rows
        if row["kind"] == "training" and row["data"] == label and row["failed"] is None and row["seed"] == 0
    }


def scores_of(rows: Sequence[JSON], label: str) -> Mapping[str, Mapping[Levels, float]]:
    """Score -> its recorded values; those without any are left out."""
    networks = trained(rows, label)
    found: dict[str, dict[Levels, float]] = {}
    for proxy in PROXIES:
        found[proxy] = {levels: row["scores"][proxy] for levels, row in networks.items() if proxy in row["scores"]}
    found["az_nas"] = _az_nas(networks)
    for place, name in enumerate(EARLY):
        found[name] = {levels: row["top1"][place] for levels, row in networks.items()}
    for other in PROBLEMS:
        if other != label:
            found[f"top1 on {other}"] = {levels: row["top1"][-1] for levels, row in trained(rows, other).items()}
    return {name: values for name, values in found.items() if values}


def _az_nas(networks: Mapping[Levels, JSON]) -> dict[Levels, float]:
    rated = {levels: row for levels, row in networks.items() if set(AZ_NAS) <= row["scores"].keys()}
    if not rated:
        return {}
    columns = [_proxy_values(rated, proxy) for proxy in AZ_NAS]
    columns.append([float(row["macs"]) for row in rated.values()])
    return dict(zip(rated, az_nas_scores(columns).tolist(), strict=True))


def _proxy_values(networks: Mapping[Levels, JSON], proxy: str) -> list[float]:
    return [row["scores"][proxy] for row in networks.values()]


def agreement_texts(values: Mapping[Levels, float], networks: Mapping[Levels, JSON]) -> tuple[str, ...]:
    """Number of architectures, r, its interval, tau, its interval."""
    both = [levels for levels in networks if levels in values]
    score = np.array([values[levels] for levels in both])
    top1 = np.array([networks[levels]["top1"][-1] for levels in both])
    worth = worth_of(score, top1)
    ranked = agreement(score, top1)
    return (
        str(len(both)),
        *(("", "") if worth is None else (f"{worth.r:.2f}", f"{worth.low:.2f} to {worth.high:.2f}")),
        *(("", "") if ranked is None else (f"{ranked.tau:.2f}", f"{ranked.low:.2f} to {ranked.high:.2f}")),
    )


def model_of(name: str, values: Mapping[Levels, float], problem: RecordedProblem) -> ModelledScore:
    """What a search would have of this score."""
    names = [gene.name for gene in problem.genes]
    known = [(dict(zip(names, levels, strict=True)), value) for levels, value in list(values.items())[:SIZE]]
    fidelity: Fidelity = "none" if name in (*PROXIES, "az_nas") else "earlier"
    return ModelledScore(name, fidelity, problem.genes, tuple(known), problem.traits)


@cache
def opened(name: str) -> RecordedProblem:
    """The problem, with known cost."""
    return open_problem(name, Path(), True)


def searched(row: JSON, values: Mapping[Levels, float]) -> JSON:
    """The row with the shares of the front's hypervolume after AT trainings."""
    problem = opened(row["problem"])
    scores = () if row["score"] == NOTHING else (model_of(row["score"], values, problem),)
    points = simulate(problem, "ehvi", row["seed"], max(AT), scores=scores).points
    shares = [hypervolume(points[:num], problem.reference_point) / problem.front_hypervolume for num in AT]
    return {**row, "hypervolume": shares}


def search_all(
    problem: str, scores: Mapping[str, Mapping[Levels, float]], num_seeds: int, file: Path, jobs: int
) -> Mapping[tuple[str, int], np.ndarray]:
    """(score, seed) -> shares of the hypervolume; the file is added to."""
    every = {NOTHING: {}, **{name: values for name, values in scores.items() if len(set(values.values())) >= FOLDS}}
    wanted: list[JSON] = [
        {"problem": problem, "score": name, "known": min(len(every[name]), SIZE), "seed": seed}
        for seed, name in itertools.product(range(num_seeds), every)
    ]
    done = {_key(row): np.array(row["hypervolume"]) for row in read_rows(file)}
    missing = [row for row in wanted if _key(row) not in done]
    with ProcessPoolExecutor(jobs) as processes:
        for row in processes.map(searched, missing, [every[row["score"]] for row in missing]):
            append_row(file, row)
            done[_key(row)] = np.array(row["hypervolume"])
    return {(row["score"], row["seed"]): done[_key(row)] for row in wanted}


def _key(row: JSON) -> tuple[str, str, int, int]:
    return row["problem"], row["score"], row["known"], row["seed"]


def gain_texts(name: str, shares: Mapping[tuple[str, int], np.ndarray]) -> tuple[str, ...]:
    """Mean gain at each of AT, then the lower ends."""
    seeds = [seed for score, seed in shares if score == name]
    if not seeds:
        return ("",) * (2 * len(AT))
    gains = np.array([shares[name, seed] - shares[NOTHING, seed] for seed in seeds])
    lows = [f"{low_95(column):+.3f}" if len(seeds) > 1 else "" for column in gains.T]
    return (*(f"{gain:+.3f}" for gain in gains.mean(axis=0)), *lows)


def report(rows: Sequence[JSON], label: str, num_seeds: int, file: Path, jobs: int) -> Iterator[str]:
    """The table of one data set."""
    networks = trained(rows, label)
    yield f"{label}: {len(networks)} architectures recorded with seed 0; {num_seeds} seeds of each search"
    if not networks:
        return
    scores = scores_of(rows, label)
    try:
        opened(PROBLEMS[label])
    except InvalidInputError as error:
        yield f"no searches: {error}"
        num_seeds = 0
    shares = search_all(PROBLEMS[label], scores, num_seeds, file, jobs)
    texts = [(*agreement_texts(values, networks), *gain_texts(name, shares), name) for name, values in scores.items()]
    yield text_table(HEADER, texts, right=len(HEADER) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=ROWS, help="of benchmarks.record")
    parser.add_argument("--gains", type=Path, default=Path("scores_worth.jsonl"), help="searches that are done")
    parser.add_argument("--seeds", type=int, default=10, help="of the searches; 0 for none")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    try:
        told = partial(report, read_rows(options.rows), num_seeds=options.seeds, file=options.gains, jobs=options.jobs)
        for label in PROBLEMS:
            for text in told(label):
                print(text, flush=True)
    except NasError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
