"""What one ask of the `ehvi` sampler takes: processor time, by genes and trials.

    OMP_NUM_THREADS=1 python -m benchmarks.ask

Trials are random rows with a made-up accuracy; between two asks one more is finished. The first ask, which fits from nothing, is printed
by itself: it is what a restart waits for.
"""

import argparse
import time

import numpy as np

from nas.ehvi import EhviSearcher, Observations
from nas.levels import Row
from nas.threads import one_thread


def ask_ms(genes: int, trials: int, known: bool, asks: int, seed: int = 0) -> np.ndarray:
    """(asks,) milliseconds of processor time, with `trials` finished trials at the first and one more at each that follows."""
    rng = np.random.default_rng(seed)
    num_levels = rng.integers(2, 6, genes)
    rows = np.unique(rng.integers(0, num_levels, (2 * (trials + asks), genes)), axis=0)
    rows = rng.permutation(rows)[: trials + asks]
    top1 = 0.5 + np.tanh(rows @ rng.standard_normal(genes) / 5) / 4 + 0.005 * rng.standard_normal(len(rows))
    log_cost = np.log(10 + rows.sum(axis=1))
    searcher = EhviSearcher(
        num_levels, [gene % 2 == 0 for gene in range(genes)], (lambda row: float(np.log(10 + sum(row)))) if known else None
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


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--genes", type=int, action="append", help="12, 28 and 40 by default")
    parser.add_argument("--trials", type=int, action="append", help="200 and 2000 by default")
    parser.add_argument("--asks", type=int, default=33, help="so that a refit, every sixteenth of the record, is among them")
    options = parser.parse_args()
    print("genes  trials  cost      median ms  longest  first")
    for genes in options.genes or (12, 28, 40):
        for trials in options.trials or (200, 2_000):
            for known in (True, False):
                with one_thread():
                    first, *others = ask_ms(genes, trials, known, options.asks)
                cost = "known" if known else "modelled"
                print(f"{genes:5}  {trials:6}  {cost:8}  {np.median(others):9.0f}  {max(others):7.0f}  {first:5.0f}", flush=True)


if __name__ == "__main__":
    main()
