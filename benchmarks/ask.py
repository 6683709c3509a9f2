"""What one ask of the `ehvi` sampler takes: processor time, by genes and trials.

    OMP_NUM_THREADS=1 python -m benchmarks.ask

Trials are random rows with a made-up accuracy; between two asks one more is finished. The first ask, which fits from
nothing, is printed by itself: it is what a restart waits for. The last lines are whole asks of studies on the space
hybrid_layout (images of 32 pixels), where the cost of each candidate is that of an architecture: one for each
`--mixers`, their asks in turn.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np
import optuna

from nas.config import SearchConfig
from nas.protocols import SearchSpace
from nas.records import Genotype
from nas.samplers.ehvi import EhviSearcher, Observations
from nas.samplers.ehvi_sampler import EhviSampler
from nas.search.establish import knowledge_of
from nas.surrogates.genes import Row
from nas.surrogates.threads import one_thread
from search_spaces.registry import make_space


def ask_ms(genes: int, trials: int, known: bool, asks: int, seed: int = 0) -> np.ndarray:
    """(asks,) milliseconds of processor time, with `trials` finished trials at the first and one more at each that
    follows."""
    rng = np.random.default_rng(seed)
    num_levels = rng.integers(2, 6, genes)
    rows = np.unique(rng.integers(0, num_levels, (2 * (trials + asks), genes)), axis=0)
    rows = rng.permutation(rows)[: trials + asks]
    top1 = 0.5 + np.tanh(rows @ rng.standard_normal(genes) / 5) / 4 + 0.005 * rng.standard_normal(len(rows))
    log_cost = np.log(10 + rows.sum(axis=1))
    searcher = EhviSearcher(
        num_levels,
        [gene % 2 == 0 for gene in range(genes)],
        (lambda row: float(np.log(10 + sum(row)))) if known else None,
    )
    trained = set(map(tuple, rows.tolist()))
    nothing = np.zeros((0, genes), dtype=int)
    times = []

    def unchanged(row: Row) -> Row:
        return row

    for count in range(trials, trials + asks):
        seen = Observations(rows[:count], top1[:count], log_cost[:count], np.zeros(count))
        started = time.process_time()
        searcher.propose(seen, nothing, nothing, unchanged, trained.__contains__, rng)
        times.append(1e3 * (time.process_time() - started))
    return np.array(times)


def space_ask_ms(space: SearchSpace, objective: str, trials: int, seed: int = 0) -> Iterator[float]:
    """The same for a study on a space whose cost is `objective`, through Optuna: endless, one ask at a time."""
    config = SearchConfig(
        space=space.name, budget=1, study="ask", storage="", artifacts="", objectives=("top1", objective)
    )
    largest = float(space.costs(space.largest()).macs)
    study = optuna.create_study(
        directions=("maximize", "minimize"),
        sampler=EhviSampler(seed, knowledge_of(space, config, reference_point=(0.1, largest))),
    )
    genes = {gene.name: optuna.distributions.CategoricalDistribution(gene.values) for gene in space.genes}
    rng = np.random.default_rng(seed)

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


def report_spaces(mixers: list[str | None], objective: str, trials: int, asks: int) -> None:
    """Print a line for each choice of mixers. Their asks take turns, as the speed of a shared host varies."""
    spaces = [make_space("hybrid_layout", "nano", 32, 3, 10, choice) for choice in mixers]
    studies = [space_ask_ms(space, objective, trials) for space in spaces]
    times_ms = np.array(list(islice(zip(*studies, strict=True), asks)))
    for space, choice, of_space in zip(spaces, mixers, times_ms.T, strict=True):
        report(len(space.genes), trials, f"{objective} {choice or ''}", of_space)


def report(genes: int, trials: int, cost: str, times_ms: np.ndarray) -> None:
    """Print one line."""
    first, *others = times_ms
    print(f"{genes:5}  {trials:6}  {cost:20}  {np.median(others):9.0f}  {max(others):7.0f}  {first:5.0f}", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--genes", type=int, action="append", help="12, 28 and 40 by default")
    parser.add_argument("--trials", type=int, action="append", help="200 and 2000 by default")
    parser.add_argument(
        "--asks", type=int, default=33, help="so that a refit, every sixteenth of the record, is among them"
    )
    parser.add_argument(
        "--mixers", action="append", help="of the space: names or sets by commas; its default by default"
    )
    options = parser.parse_args()
    print("genes  trials  cost                  median ms  longest  first")
    with one_thread():
        for genes in options.genes or (12, 28, 40):
            for trials in options.trials or (200, 2_000):
                for cost in ("known", "modelled"):
                    report(genes, trials, cost, ask_ms(genes, trials, cost == "known", options.asks))
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        for objective in ("macs", "latency_ms"):
            for trials in options.trials or (200, 2_000):
                report_spaces(options.mixers or [None], objective, trials, options.asks)


if __name__ == "__main__":
    main()
