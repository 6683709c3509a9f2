"""Surrogates of top1 compared: how well they predict what they have not seen, and what a search finds with each.

    python -m benchmarks.surrogates --problem macro --data FOLDER [--search]
    python -m benchmarks.surrogates --storage sqlite:///runs/nas.db --study NAME

A Gaussian process (nas/surrogates/gaussian_process.py), a ridge regression on genes and their pairs, and an ensemble of
extremely randomised trees see the same rows; with `--model botorch` BoTorch's process does. Recorded problems: fitted
to random architectures, tested on 500 others. A study: four times four-fold cross-validation over its finished trials,
with genotypes as recorded, in canonical form, and with more features. Times are processor time.
"""

import argparse
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import optuna
from scipy.stats import kendalltau, norm
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, WhiteKernel

from db.store import open_store
from hybrid_nas.problems import PROBLEMS, open_problem
from nas.errors import NasError
from nas.pareto.picks import pick_study
from nas.protocols import traits_of
from nas.samplers.ehvi import Surrogate
from nas.samplers.ehvi_sampler import EhviSampler
from nas.samplers.registry import registered
from nas.search.study import recorded_genotypes
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder
from nas.surrogates.genes import GeneLevels
from nas.tabular.bench import Conditions, bench, bench_text
from nas.tabular.nano import LATENCY, NANO
from search_spaces.registry import make_space

TESTED = 500
FOLDS = 4
REPEATS = 4
MIN_SD = 1e-3
"""Smallest standard deviation of a prediction of the standardised target: trees that agree are not certain."""

Split = tuple[np.ndarray, np.ndarray]


class _Sklearn(ABC):
    """A regressor of scikit-learn on similarities to each level and the standardised feature, of the standardised
    target."""

    def __init__(self, encoder: GeneEncoder) -> None:
        # A column for each level, with the similarity of the row's level to it: trees could not see levels in the
        # encoder's columns.
        self._seen = encoder.seen
        self._columns = [
            offset + table @ table.T for offset, table in zip(encoder.offsets, encoder.tables, strict=True)
        ]

    def fit(
        self,
        levels_ND: np.ndarray,
        feature_N: np.ndarray,
        target_N: np.ndarray,
        max_iterations: int,
        sd_N: np.ndarray | float = 0.0,
    ) -> None:
        """Fit from scratch, whatever the iterations; errors of single targets are ignored."""
        self._feature_scale = feature_N.mean(), feature_N.std() or 1.0
        self._scale = target_N.mean(), target_N.std() or 1.0
        self._fit(self._inputs(levels_ND, feature_N), (target_N - self._scale[0]) / self._scale[1])

    def predict(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = self._predict(self._inputs(levels_ND, feature_N))
        return self._scale[0] + self._scale[1] * mean, self._scale[1] * np.maximum(sd, MIN_SD)

    def mean(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> np.ndarray:
        return self.predict(levels_ND, feature_N)[0]

    def _inputs(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> np.ndarray:
        seen = self._seen(levels_ND)
        genes = [columns[seen[:, gene]] for gene, columns in enumerate(self._columns)]
        return np.column_stack([*genes, (feature_N - self._feature_scale[0]) / self._feature_scale[1]])

    @abstractmethod
    def _fit(self, inputs: np.ndarray, target: np.ndarray) -> None: ...

    @abstractmethod
    def _predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


class Trees(_Sklearn):
    """Extremely randomised trees (Geurts, Ernst & Wehenkel 2006); the standard deviation is that over trees."""

    def _fit(self, inputs: np.ndarray, target: np.ndarray) -> None:
        self._model = ExtraTreesRegressor(100, min_samples_leaf=2, random_state=0).fit(inputs, target)

    def _predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        predicted = np.array([tree.predict(inputs) for tree in self._model.estimators_])
        return predicted.mean(0), predicted.std(0)


class Ridge(_Sklearn):
    """Bayesian ridge regression on all columns and their pairs, in its dual form (a squared linear kernel); evidence
    sets the penalty."""

    def _fit(self, inputs: np.ndarray, target: np.ndarray) -> None:
        kernel = ConstantKernel(0.01) * DotProduct(1.0) ** 2 + WhiteKernel(0.1)
        self._model = GaussianProcessRegressor(kernel, random_state=0).fit(inputs, target)

    def _predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = self._model.predict(inputs, return_std=True)
        return mean, sd


def _botorch(encoder: GeneEncoder) -> Surrogate:
    try:
        from benchmarks.botorch_process import BotorchProcess
    except ModuleNotFoundError as error:
        sys.exit(f"error: the model botorch needs {error.name}, which is not installed; `pip install botorch==0.18.1`")
    return BotorchProcess(encoder)


Models = Mapping[str, Callable[[GeneEncoder], Surrogate]]

MODELS: Models = {
    "gaussian_process": GaussianProcess,
    "ridge_with_pairs": Ridge,
    "trees": Trees,
}
ALL_MODELS: Models = {**MODELS, "botorch": _botorch}


def compare(
    models: Models,
    encoder: GeneEncoder,
    rows: np.ndarray,
    feature: np.ndarray,
    top1: np.ndarray,
    splits: list[Split],
    label: str,
) -> None:
    """Print one line per model: means over the splits."""
    for name, make in models.items():
        results = []
        for train, test in splits:
            started = time.process_time()
            model = make(encoder)
            model.fit(rows[train], feature[train], top1[train], 60)
            mean, sd = model.predict(rows[test], feature[test])
            took_ms = 1e3 * (time.process_time() - started)
            error = top1[test] - mean
            # The models give the error of a noise-free score; what is left of the training error stands for the noise.
            noise = float(np.std(top1[train] - model.predict(rows[train], feature[train])[0]))
            spread = np.hypot(sd, noise)
            results.append(
                (
                    kendalltau(mean, top1[test]).statistic,
                    1 - error.var() / top1[test].var(),
                    norm.logpdf(error, scale=spread).mean(),
                    (np.abs(error) < 1.96 * spread).mean(),
                    took_ms,
                )
            )
        tau, r2, density, cover, took_ms = np.mean(results, axis=0)
        print(
            f"{label:<34} {name:<17} tau {tau:.3f}  R2 {r2:.3f}  ln density {density:.2f}  within 95 % {cover:.2f}  "
            f"fit and predict {took_ms:.0f} ms",
            flush=True,
        )


def on_problem(models: Models, name: str, folder: Path) -> None:
    """Compare on random architectures of a recorded problem."""
    problem = open_problem(name, folder, True)
    encoder = GeneEncoder.of_genes(problem.genes, problem.traits)
    assert problem.known_cost is not None
    for size in (50, 100, 200):
        rng = np.random.default_rng(0)
        rows = np.unique(problem.random_rows(4 * (size + TESTED), rng), axis=0)
        rows = rows[rng.permutation(len(rows))[: 2 * (size + TESTED)]]
        top1 = np.array([problem.accuracy_percent(tuple(row)) for row in rows.tolist()])
        cost = np.log([problem.known_cost(tuple(row)) for row in rows.tolist()])
        orders = [rng.permutation(len(rows)) for _ in range(REPEATS)]
        splits = [(order[:size], order[size : size + TESTED]) for order in orders]
        compare(models, encoder, rows, cost, top1, splits, f"{name}, {size} architectures")


def on_study(models: Models, url: str, study: str | None) -> None:
    """Compare on the finished trials of a recorded study."""
    store = open_store(url, create=False)
    search = pick_study(study, store.studies())
    facts = [trial for trial in store.facts(search.name) if trial.state == "COMPLETE"]
    genotypes = recorded_genotypes(optuna.storages.RDBStorage(url), search.name)
    setting = [int(facts[0].spec[name]) for name in ("image_size", "in_chans", "num_classes")]
    space = make_space(search.space, search.scale, *setting)
    levels = GeneLevels(space.genes)
    recorded = levels.rows([genotypes[trial.trial_number] for trial in facts])
    canonical = levels.canonical(recorded)
    top1 = np.array([trial.top1 for trial in facts])
    encoder = GeneEncoder.of_genes(space.genes, traits_of(space))
    features = {
        "genes only": np.zeros(len(facts)),
        "with ln param_count": np.log([trial.costs.param_count for trial in facts]),
        "with ln macs": np.log([trial.costs.macs for trial in facts]),
    }
    if all(trial.latency is not None for trial in facts):
        features["with ln latency"] = np.log([trial.latency.median_ms for trial in facts if trial.latency is not None])
    splits = list(_folds(len(facts)))
    compare(models, encoder, recorded, features["genes only"], top1, splits, "as recorded, genes only")
    for label, feature in features.items():
        compare(models, encoder, canonical, feature, top1, splits, f"canonical, {label}")


def _folds(count: int) -> Iterator[Split]:
    rng = np.random.default_rng(0)
    for _ in range(REPEATS):
        order = rng.permutation(count)
        for fold in range(FOLDS):
            yield np.delete(order, np.s_[fold::FOLDS]), order[fold::FOLDS]


def in_search(models: Models, name: str, folder: Path, seeds: int, budget: int) -> None:
    """Compare what the sampler finds with each model."""
    samplers = {model: partial(EhviSampler, surrogate=make) for model, make in models.items()}
    conditions = Conditions(seeds=seeds, budget=budget, workers=1, failure_rate=0.0, rungs=1, replay=True)
    problem = open_problem(name, folder, True)
    with registered(samplers):
        results = [bench(problem, model, conditions) for model in models]
    print(bench_text(problem, results, conditions), flush=True)


def main() -> None:
    """Run what the options name."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--model", choices=ALL_MODELS, action="append", help="all but botorch by default")
    known_before = [name for name in PROBLEMS if NANO.get(name, ("", ""))[1] != LATENCY]
    parser.add_argument("--problem", choices=known_before, action="append", default=[])
    parser.add_argument("--data", type=Path, default=Path("tabular"), help="folder of the recorded results")
    parser.add_argument("--search", action="store_true", help="also search with each model")
    parser.add_argument("--seeds", type=int, default=5, help="of the search")
    parser.add_argument("--budget", type=int, default=100, help="of the search")
    parser.add_argument("--storage", help="database URL of a recorded study")
    parser.add_argument("--study")
    options = parser.parse_args()
    models = {name: ALL_MODELS[name] for name in options.model or MODELS}
    try:
        for problem in options.problem:
            on_problem(models, problem, options.data)
            if options.search:
                in_search(models, problem, options.data, options.seeds, options.budget)
        if options.storage:
            on_study(models, options.storage, options.study)
    except NasError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
