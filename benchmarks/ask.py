"""What one ask of the `ehvi` sampler takes: processor time, by genes, trials and scores.

    OMP_NUM_THREADS=1 python -m benchmarks.ask

Trials are random rows with a made-up accuracy; between two asks one more is finished. The first ask, which fits from
nothing, is printed by itself: it is what a restart waits for. A score is a model of as many networks as a search
samples. The last lines are whole asks of studies on the space hybrid_layout (images of 32 pixels), where the cost of
each candidate is that of an architecture: one for each `--mixers`. Asks with and without scores, and those of all
spaces, take turns, as the speed of a shared host varies.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import islice, product

import numpy as np
import optuna

from nas.config import SearchConfig
from nas.protocols import SearchSpace, Traits, traits_of
from nas.records import Gene, Genotype
from nas.samplers.ehvi import EhviSearcher, Observations
from nas.samplers.ehvi_sampler import EhviSampler
from nas.search.establish import knowledge_of
from nas.search.scoring import SIZE
from nas.surrogates.genes import Row
from nas.surrogates.scores import ModelledScore
from nas.surrogates.threads import one_thread
from search_spaces.registry import make_space


def made_up_scores(
    genes: Sequence[Gene], genotypes: Sequence[Genotype], count: int, traits: Traits | None = None
) -> tuple[ModelledScore, ...]:
    """Scores that rise with the level of every gene, each gene's share its own."""
    scores = []
    for number in range(count):
        rng = np.random.default_rng(number)
        shares = {gene.name: rng.random() for gene in genes}
        known = []
        for genotype in genotypes:
            levels = {gene.name: gene.values.index(genotype[gene.name]) for gene in genes}
            known.append((genotype, sum(shares[name] * level for name, level in levels.items())))
        scores.append(ModelledScore(f"score {number}", "none", tuple(genes), tuple(known), traits))
    return tuple(scores)


def ask_ms(genes: int, trials: int, known: bool, num_scores: int, seed: int = 0) -> Iterator[float]:
    """Milliseconds of processor time, with `trials` finished trials at the first ask and one more at each that follows:
    endless, one ask at a time."""
    rng = np.random.default_rng(seed)
    num_levels = rng.integers(2, 6, genes)
    rows = np.unique(rng.integers(0, num_levels, (2 * trials + 2 * SIZE, genes)), axis=0)
    rows = rng.permutation(rows)
    top1 = 0.5 + np.tanh(rows @ rng.standard_normal(genes) / 5) / 4 + 0.005 * rng.standard_normal(len(rows))
    log_cost = np.log(10 + rows.sum(axis=1))
    ordered = [gene % 2 == 0 for gene in range(genes)]
    described = [Gene(f"g{i}", tuple(range(num_levels[i])), ordered[i], "") for i in range(genes)]
    names = [gene.name for gene in described]
    sampled = [dict(zip(names, row, strict=True)) for row in rows[-SIZE:].tolist()]
    searcher = EhviSearcher(
        num_levels,
        ordered,
        (lambda row: float(np.log(10 + sum(row)))) if known else None,
        scores=made_up_scores(described, sampled, num_scores),
    )
    trained = set(map(tuple, rows.tolist()))
    nothing = np.zeros((0, genes), dtype=int)

    def unchanged(row: Row) -> Row:
        return row

    for count in range(trials, len(rows)):
        seen = Observations(rows[:count], top1[:count], log_cost[:count], np.zeros(count))
        started = time.process_time()
        searcher.propose(seen, nothing, nothing, unchanged, trained.__contains__, rng)
        yield 1e3 * (time.process_time() - started)


def space_ask_ms(space: SearchSpace, objective: str, trials: int, num_scores: int, seed: int = 0) -> Iterator[float]:
    """The same for a study on a space whose cost is `objective`, through Optuna."""
    config = SearchConfig(
        space=space.name, budget=1, study="ask", storage="", artifacts="", objectives=("top1", objective)
    )
    largest = float(space.costs(space.largest()).macs)
    rng = np.random.default_rng(seed)
    scores = made_up_scores(space.genes, [space.sample(rng) for _ in range(SIZE)], num_scores, traits_of(space))
    study = optuna.create_study(
        directions=("maximize", "minimize"),
        sampler=EhviSampler(seed, knowledge_of(space, config, (0.1, largest), scores)),
    )
    genes = {gene.name: optuna.distributions.CategoricalDistribution(gene.values) for gene in space.genes}

    def values(genotype: Genotype) -> tuple[float, float]:
        macs = space.genotype_costs(genotype).macs
        return 0.5 + np.tanh(np.log(1e4 * macs / largest) / 5) / 4 + 0.005 * rng.standard_normal(), float(macs)

    for _ in range(trials):
        genotype = space.sample(rng)
        study.add_trial(optuna.trial.create_trial(params=genotype, distributions=genes, values=values(genotype)))
    while True:
        started = time.process_time()
        trial = study.ask(genes)
        yield 1e3 * (time.process_time() - started)
        study.tell(trial, values(trial.params))


def in_turn(asks: int, *studies: Iterator[float]) -> Iterator[np.ndarray]:
    """(asks,) milliseconds of each study."""
    yield from np.array(list(islice(zip(*studies, strict=True), asks))).T


def report(genes: int, trials: int, cost: str, num_scores: int, times_ms: np.ndarray) -> None:
    """Print one line."""
    first, *others = times_ms
    told = f"{genes:5}  {trials:6}  {num_scores:6}  {cost:20}"
    print(f"{told}  {np.median(others):9.0f}  {max(others):7.0f}  {first:5.0f}", flush=True)


def report_genes(genes: int, trials: int, numbers: Sequence[int], asks: int) -> None:
    """Print a line for each number of scores, at known and at modelled cost."""
    for cost in ("known", "modelled"):
        studies = [ask_ms(genes, trials, cost == "known", num_scores) for num_scores in numbers]
        for num_scores, times_ms in zip(numbers, in_turn(asks, *studies), strict=True):
            report(genes, trials, cost, num_scores, times_ms)


def report_spaces(mixers: Sequence[str | None], objective: str, trials: int, numbers: Sequence[int], asks: int) -> None:
    """Print a line for each choice of mixers and number of scores."""
    kinds = list(product(mixers, numbers))
    spaces = [make_space("hybrid_layout", "nano", 32, 3, 10, choice) for choice, _ in kinds]
    studies = [
        space_ask_ms(space, objective, trials, num_scores) for space, (_, num_scores) in zip(spaces, kinds, strict=True)
    ]
    for space, (choice, num_scores), times_ms in zip(spaces, kinds, in_turn(asks, *studies), strict=True):
        report(len(space.genes), trials, f"{objective} {choice or ''}", num_scores, times_ms)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--genes", type=int, action="append", help="12, 31 and 45 by default")
    parser.add_argument("--trials", type=int, action="append", help="200 and 2000 by default")
    parser.add_argument("--scores", type=int, action="append", help="how many; 0 and 2 by default")
    parser.add_argument(
        "--asks", type=int, default=33, help="so that a refit, every sixteenth of the record, is among them"
    )
    parser.add_argument(
        "--mixers", action="append", help="of the space: names or sets by commas; its default by default"
    )
    options = parser.parse_args()
    all_trials = options.trials or (200, 2_000)
    numbers = options.scores or (0, 2)
    print("genes  trials  scores  cost                  median ms  longest  first")
    with one_thread():
        for genes in options.genes or (12, 31, 45):
            for trials in all_trials:
                report_genes(genes, trials, numbers, options.asks)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        for objective in ("macs", "latency_ms"):
            for trials in all_trials:
                report_spaces(options.mixers or [None], objective, trials, numbers, options.asks)


if __name__ == "__main__":
    main()
