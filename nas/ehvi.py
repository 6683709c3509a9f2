"""Which architecture to train next: the one expected to add most to the front, given what was trained and what is being trained.

A Gaussian process (nas/surrogate.py) predicts top1 from genes and ln cost. Where the cost is known before training it is exact, else a
second one predicts it. Candidates are random rows and children of the front; the best are climbed, gene by gene, to a local maximum of the
expected growth.
Nothing here knows Optuna: rows are level indices, one per gene.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from nas.acquisition import expected_improvement, front_rows, neighbours, offspring, random_rows
from nas.levels import Row
from nas.surrogate import GaussianProcess, GeneEncoder

RANDOM_TRAININGS = 10
"""Trainings before the surrogate decides."""
POPULATION = 500
"""Random architectures whose predicted median top1 and 0.99 quantile of cost are the reference point."""
NUM_RANDOM, NUM_CHILDREN = 200, 600
NUM_CLIMBS, MAX_CLIMB = 6, 20
"""How many of the best candidates are improved gene by gene, and for how many steps at most."""
MAX_ROWS = 400
"""Observations that the surrogate learns from; of more, those nearest to the front and a random quarter."""
FIT_ITERATIONS = 15


@dataclass(frozen=True, slots=True)
class Observations:
    """What is known of the trained architectures."""

    rows_ND: np.ndarray
    """(num_trained, num_genes) int, distinct."""
    top1_N: np.ndarray
    log_cost_N: np.ndarray
    sd_N: np.ndarray
    """Of top1's own error: 0 for a finished training, above it for the extrapolation of a stopped one."""

    def __getitem__(self, chosen: np.ndarray) -> "Observations":
        return Observations(self.rows_ND[chosen], self.top1_N[chosen], self.log_cost_N[chosen], self.sd_N[chosen])

    def front(self) -> np.ndarray:
        """Indices of the members; only finished trainings can be one (DESIGN 2.11)."""
        finished = np.flatnonzero(self.sd_N == 0)
        members: np.ndarray = finished[front_rows(self.top1_N[finished], self.log_cost_N[finished])]
        return members


class EhviSearcher:
    """Holds the surrogates between asks. Deterministic given its random generator."""

    def __init__(
        self,
        num_levels: Sequence[int],
        ordered: Sequence[bool],
        log_cost: Callable[[Row], float] | None,
        max_log_cost: float = np.inf,
        reference_point: tuple[float, float] | None = None,
    ) -> None:
        """Begin with no knowledge.

        Args:
            num_levels: of each gene, at least 1.
            ordered: per gene, whether neighbouring levels are similar.
            log_cost: ln cost of a row before it is trained; None when only training tells.
            max_log_cost: hard limit; what lies above adds nothing.
            reference_point: (top1, ln cost); None takes the predicted median top1 and 0.99 quantile of cost of random rows.
        """
        self._num_levels = np.asarray(num_levels)
        encoder = GeneEncoder.of(num_levels, ordered)
        self._top1, self._cost = GaussianProcess(encoder), GaussianProcess(encoder)
        self._log_cost, self._max_log_cost, self._given_reference = log_cost, max_log_cost, reference_point
        self._costs: dict[Row, float] = {}
        self._fitted_rows = 0

    def propose(self, seen: Observations, pending_ND: np.ndarray, excluded: Callable[[Row], bool], rng: np.random.Generator) -> Row:
        """The next row to train.

        Args:
            seen: what was trained.
            pending_ND: (num_pending, num_genes) rows in training; they count as if they gave what is predicted.
            excluded: whether a row must not be proposed (trained, failed, in training, over a limit).

        Returns:
            A row that is not excluded, unless nearly every row is.
        """
        if np.count_nonzero(seen.sd_N == 0) < RANDOM_TRAININGS:
            return _first_allowed(random_rows(POPULATION, self._num_levels, rng), excluded)
        chosen = seen if len(seen.rows_ND) <= MAX_ROWS else _informative(seen, rng)
        self._fit(chosen, len(seen.rows_ND))
        reference_point = self._reference_point(rng)
        known = self._with_pending(chosen, pending_ND)
        members = known.front()
        front = known.top1_N[members], known.log_cost_N[members]

        def score(rows_ND: np.ndarray) -> np.ndarray:
            log_cost = self._log_costs(rows_ND)
            mean, sd = self._top1.predict(rows_ND, log_cost)
            return expected_improvement(mean, sd, log_cost, front, reference_point)

        children = offspring(known.rows_ND[members], NUM_CHILDREN, self._num_levels, rng)
        candidates = np.unique(np.vstack([random_rows(NUM_RANDOM, self._num_levels, rng), children]), axis=0)
        return self._climbed(candidates, score, excluded)

    def _climbed(self, candidates: np.ndarray, score: Callable[[np.ndarray], np.ndarray], excluded: Callable[[Row], bool]) -> Row:
        scores = score(candidates)
        order = np.argsort(-scores, kind="stable")
        best: tuple[float, Row] | None = None
        starts = [candidates[i] for i in order if not excluded(tuple(candidates[i].tolist()))][:NUM_CLIMBS]
        for start in starts:
            row, value = start, float(score(start[None])[0])
            for _ in range(MAX_CLIMB):
                around = neighbours(row, self._num_levels)
                values = score(around)
                step = next((i for i in np.argsort(-values, kind="stable") if not excluded(tuple(around[i].tolist()))), None)
                if step is None or values[step] <= value:
                    break
                row, value = around[step], float(values[step])
            if best is None or value > best[0]:
                best = value, tuple(row.tolist())
        return best[1] if best is not None else tuple(candidates[0].tolist())

    def _fit(self, seen: Observations, num_trained: int) -> None:
        """Refit the hyperparameters whenever the record has grown by a fiftieth; condition on every row each time."""
        grown = num_trained - self._fitted_rows >= max(1, num_trained // 50)
        iterations = FIT_ITERATIONS if grown else 0
        if grown:
            self._fitted_rows = num_trained
        self._top1.fit(seen.rows_ND, seen.log_cost_N, seen.top1_N, iterations, seen.sd_N)
        if self._log_cost is None:
            self._cost.fit(seen.rows_ND, np.zeros(len(seen.rows_ND)), seen.log_cost_N, iterations)

    def _log_costs(self, rows_ND: np.ndarray) -> np.ndarray:
        if self._log_cost is None:
            return self._cost.predict(rows_ND, np.zeros(len(rows_ND)))[0]
        rows = list(map(tuple, rows_ND.tolist()))
        for row in rows:
            if row not in self._costs:
                self._costs[row] = self._log_cost(row)
        return np.array([self._costs[row] for row in rows])

    def _reference_point(self, rng: np.random.Generator) -> tuple[float, float]:
        """The typical random architecture's top1, and about the largest cost: the part of the plane where a front is of use."""
        if self._given_reference is not None:
            return self._given_reference[0], min(self._given_reference[1], self._max_log_cost)
        population = random_rows(POPULATION, self._num_levels, rng)
        log_cost = self._log_costs(population)
        mean, _ = self._top1.predict(population, log_cost)
        return float(np.median(mean)), min(float(np.quantile(log_cost, 0.99)), self._max_log_cost)

    def _with_pending(self, seen: Observations, pending_ND: np.ndarray) -> Observations:
        """Believe the predictions of what is being trained.

        Source: the Kriging believer of Ginsbourger, Le Riche & Carraro, "Kriging Is Well-Suited to Parallelize Optimization", 2010.
        """
        if not len(pending_ND):
            return seen
        log_cost = self._log_costs(pending_ND)
        mean, _ = self._top1.predict(pending_ND, log_cost)
        pending = Observations(pending_ND, mean, log_cost, np.zeros(len(mean)))
        believed = Observations(*map(np.concatenate, zip(astuple(seen), astuple(pending), strict=True)))
        self._top1.fit(believed.rows_ND, believed.log_cost_N, believed.top1_N, 0, believed.sd_N)
        return believed


def _informative(seen: Observations, rng: np.random.Generator) -> Observations:
    members = seen.front()
    position = np.searchsorted(seen.log_cost_N[members], seen.log_cost_N, side="right") - 1
    order = np.argsort(seen.top1_N[members][position] - seen.top1_N, kind="stable")
    near = order[: MAX_ROWS * 3 // 4]
    keep = np.concatenate([near, rng.choice(order[len(near) :], MAX_ROWS - len(near), replace=False)])
    return seen[keep]


def _first_allowed(rows_ND: np.ndarray, excluded: Callable[[Row], bool]) -> Row:
    rows = [tuple(row) for row in rows_ND.tolist()]
    return next((row for row in rows if not excluded(row)), rows[0])
