"""Which architecture to train next: the one expected to add most to the front, given what was trained and what is being
trained.

A Gaussian process (nas/surrogates/gaussian_process.py) predicts top1 from genes and ln cost. Where the cost is known
before training it is exact, else a second one predicts it. Candidates are random rows and children of the front; the
best are climbed, gene by gene, to a local maximum of the expected growth. Scores that are known of every architecture
enter the process of top1 alone (nas/surrogates/scores.py). Nothing here knows Optuna: rows are level indices, one per
gene.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from nas.pareto.front import front_rows
from nas.samplers.acquisition import MANY_OTHERS, expected_improvement, neighbours, offspring, random_rows
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder, Refits, Surrogate
from nas.surrogates.genes import Row
from nas.surrogates.scores import ArchitectureScore, Guarded

RANDOM_TRAININGS = 10
"""Trainings that are begun before the surrogate decides."""
MIN_FINISHED = 3
"""Trainings that are finished by then; parallel workers would otherwise add more random ones while the first are under
way."""
POPULATION = 500
"""Random architectures whose predicted median top1 and 0.99 quantile of cost are the reference point."""
NUM_RANDOM = 100
NUM_CHILDREN = 400
NUM_CLIMBS = 3
MAX_CLIMB = 20
MAX_LEAP = 8
"""How many of the best candidates are improved, for how many steps at most, and how many genes may change in one
step."""
NUM_LONG_CLIMBS = 2
"""How many of them in spaces with genes of so many levels that climbs look at some: there they take more steps."""
MAX_ROWS = 400
"""Observations that the surrogate learns from; of more, those nearest to the front and a random quarter."""
MAX_TIMED = 200
"""Latest timings of what was not trained to the end that costs are learned from."""
MAX_FAILED = 100
"""Latest failures that are learned from; each is one more row of the surrogate."""
MAX_CACHED = 50_000
"""Rows of which costs, repairs and identities are kept between asks; each ask looks at about 1,300."""
MIN_ERROR = 1e-6
"""Least error of what was not trained to its end, so that it is never taken for finished."""


@dataclass(frozen=True, slots=True)
class Observations:
    """What is known of the trained architectures."""

    rows_ND: np.ndarray
    """(num_trained, num_genes) int, distinct."""
    top1_N: np.ndarray
    log_cost_N: np.ndarray
    sd_N: np.ndarray
    """Error of top1 itself: 0 for a finished training, above it for the extrapolation of a stopped one."""

    def __getitem__(self, chosen: np.ndarray) -> "Observations":
        return Observations(self.rows_ND[chosen], self.top1_N[chosen], self.log_cost_N[chosen], self.sd_N[chosen])

    def front(self) -> np.ndarray:
        """Indices of the members; only finished trainings can be one (DESIGN 2.11)."""
        finished = np.flatnonzero(self.sd_N == 0)
        members: np.ndarray = finished[front_rows(self.top1_N[finished], self.log_cost_N[finished])]
        return members


@dataclass(frozen=True, slots=True)
class Timings:
    """Costs of architectures that were not trained to the end: rejected for them, or failed later."""

    rows_ND: np.ndarray
    """(num_timed, num_genes) int."""
    log_cost_N: np.ndarray


class EhviSearcher:
    """Holds the surrogates between asks. Deterministic given its random generator."""

    def __init__(
        self,
        num_levels: Sequence[int],
        ordered: Sequence[bool],
        log_cost: Callable[[Row], float] | None,
        max_log_cost: float = np.inf,
        reference_point: tuple[float, float] | None = None,
        canonical: Callable[[np.ndarray], np.ndarray] = np.copy,
        surrogate: Callable[[GeneEncoder], Surrogate] = GaussianProcess,
        scores: Sequence[ArchitectureScore] = (),
    ) -> None:
        """Begin with no knowledge.

        Args:
            num_levels: of each gene, at least 1.
            ordered: per gene, whether neighbouring levels are similar.
            log_cost: ln cost of a row before it is trained; None when only training tells.
            max_log_cost: hard limit; what lies above adds nothing.
            reference_point: (top1, ln cost); None takes the predicted median top1 and 0.99 quantile of cost of random
                rows.
            canonical: (num_rows, num_genes) -> the same architectures with genes of no influence at their first level.
            surrogate: makes an unfitted model of top1 for a search without scores.
            scores: of canonical rows; they guide a Gaussian process of top1 as far as they prove true.
        """
        self._num_levels = np.asarray(num_levels)
        encoder = GeneEncoder.of(num_levels, ordered)
        self._guarded = Guarded(num_levels, ordered, scores) if scores else None
        self._top1: Surrogate = self._guarded or surrogate(encoder)
        self._cost = GaussianProcess(encoder)
        self._log_cost = log_cost
        self._max_log_cost = max_log_cost
        self._num_climbs = NUM_CLIMBS if max(num_levels) <= MANY_OTHERS else NUM_LONG_CLIMBS
        self._given_reference = reference_point
        self._canonical = canonical
        self._costs: dict[Row, float] = {}
        self._refits = Refits()

    @property
    def trusted(self) -> int | None:
        """Place of the score around which top1 is predicted; None while no score is trusted."""
        return None if self._guarded is None else self._guarded.trusted

    def propose(
        self,
        seen: Observations,
        pending_ND: np.ndarray,
        failed_ND: np.ndarray,
        repair: Callable[[Row], Row],
        excluded: Callable[[Row], bool],
        rng: np.random.Generator,
        num_unknown: int = 0,
        worth: Callable[[np.ndarray], np.ndarray] = np.ones_like,
        timed: Timings | None = None,
    ) -> Row:
        """The next row to train.

        Args:
            seen: what was trained.
            pending_ND: (num_pending, num_genes) rows in training; they count as if they gave what is predicted.
            failed_ND: (num_failed, num_genes) rows whose training failed, in the order of their trials; the latest
                MAX_FAILED count loosely as if they gave the lowest top1 so far.
            repair: the nearest valid row.
            excluded: whether a row must not be proposed (invalid, trained, failed, in training, over a limit).
            num_unknown: trainings that were stopped and of which `seen` says nothing yet.
            worth: (num_candidates,) ln cost -> factor of the growth that is expected.
            timed: what else tells costs where they are measured; under a limit `seen` knows only what lies below it.

        Returns:
            A row that is not excluded, unless nearly every row is.
        """
        finished = np.count_nonzero(seen.sd_N == 0)
        if finished < MIN_FINISHED or len(seen.rows_ND) + num_unknown + len(pending_ND) < RANDOM_TRAININGS:
            sampled = random_rows(POPULATION, self._num_levels, rng)
            return next((row for row in map(repair, map(_row, sampled)) if not excluded(row)), repair(_row(sampled[0])))
        chosen = seen if len(seen.rows_ND) <= MAX_ROWS else _informative(seen, rng)
        iterations = self._refits.iterations(len(seen.rows_ND))
        if self._guarded is not None and self._guarded.needs_levels:
            # Drawn apart from the proposals, so that a search that continues tells the same levels.
            typical = random_rows(POPULATION, self._num_levels, np.random.default_rng(0))
            self._guarded.set_levels(np.array([repair(_row(row)) for row in typical]))
        self._fit(chosen, iterations, timed)
        reference_point = self._reference_point(rng)
        known = self._with_unfinished(chosen, pending_ND, failed_ND[-MAX_FAILED:])
        members = known.front()
        front = known.top1_N[members], known.log_cost_N[members]

        def score(rows_ND: np.ndarray) -> np.ndarray:
            log_cost = self._log_costs(rows_ND)
            mean, sd = self._top1.predict(rows_ND, log_cost)
            growth: np.ndarray = expected_improvement(mean, sd, log_cost, front, reference_point) * worth(log_cost)
            return growth

        children = offspring(known.rows_ND[members], NUM_CHILDREN, self._num_levels, rng)
        rows = np.vstack([random_rows(NUM_RANDOM, self._num_levels, rng), children])
        candidates = np.unique(self._canonical(rows), axis=0)
        return self._climbed(candidates, score, excluded, rng)

    def _climbed(
        self,
        candidates: np.ndarray,
        score: Callable[[np.ndarray], np.ndarray],
        excluded: Callable[[Row], bool],
        rng: np.random.Generator,
    ) -> Row:
        """The best end of climbs from the best candidates. All climbs take a step at a time together, so that `score`
        sees many rows."""
        values = score(candidates)
        starts = list(itertools.islice(_allowed(candidates, values, excluded), self._num_climbs))
        if not starts:
            return _row(candidates[0])
        climbs = {_row(candidates[i]): float(values[i]) for i in starts}
        best = dict(climbs)
        climbing = climbs
        for _ in range(MAX_CLIMB):
            around = self._scored([self._around(np.array(row), rng) for row in climbing], score)
            ahead = self._scored(
                [self._ahead(np.array(row), *near) for row, near in zip(climbing, around, strict=True)], score
            )
            steps: dict[Row, float] = {}
            for value, *options in zip(climbing.values(), around, ahead, strict=True):
                rows, row_values = map(np.concatenate, zip(*options, strict=True))
                step = next(_allowed(rows, row_values, excluded), None)
                if step is not None and row_values[step] > value:
                    steps[_row(rows[step])] = float(row_values[step])
            climbing = {row: value for row, value in steps.items() if row not in best}
            best |= climbing
            if not climbing:
                break
        return max(best, key=best.__getitem__)

    def _around(self, row_D: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The neighbours that are other architectures."""
        rows = self._canonical(neighbours(row_D, self._num_levels, rng))
        others: np.ndarray = rows[(rows != row_D).any(axis=1)]
        return others

    def _ahead(self, row_D: np.ndarray, around_ND: np.ndarray, values_N: np.ndarray) -> np.ndarray:
        """Several steps at once: the best changes of single genes taken together, the best two, the best three and so
        on."""
        rows = []
        row = row_D.copy()
        changed = np.zeros(len(row_D), dtype=bool)
        for other in around_ND[np.argsort(-values_N, kind="stable")]:
            differs = other != row_D
            if not (differs & changed).any():
                row = np.where(differs, other, row)
                changed = changed | differs
                rows.append(row)
            if len(rows) == MAX_LEAP:
                break
        return self._canonical(np.array(rows[1:], dtype=int).reshape(-1, len(row_D)))

    @staticmethod
    def _scored(
        groups: list[np.ndarray], score: Callable[[np.ndarray], np.ndarray]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each group of rows with its values, from one call."""
        rows = np.vstack(groups)
        values = score(rows) if len(rows) else np.zeros(0)
        ends = np.cumsum([len(group) for group in groups])[:-1]
        return list(zip(groups, np.split(values, ends), strict=True))

    def _fit(self, seen: Observations, iterations: int, timed: Timings | None) -> None:
        self._top1.fit(seen.rows_ND, seen.log_cost_N, seen.top1_N, iterations, seen.sd_N)
        if self._log_cost is None:
            rows = seen.rows_ND
            log_cost = seen.log_cost_N
            if timed is not None:
                rows = np.vstack([rows, timed.rows_ND[-MAX_TIMED:]])
                log_cost = np.concatenate([log_cost, timed.log_cost_N[-MAX_TIMED:]])
            self._cost.fit(rows, np.zeros(len(rows)), log_cost, iterations)

    def _log_costs(self, rows_ND: np.ndarray) -> np.ndarray:
        if self._log_cost is None:
            return self._cost.mean(rows_ND, np.zeros(len(rows_ND)))
        rows = list(map(tuple, rows_ND.tolist()))
        if len(self._costs) > MAX_CACHED:
            self._costs.clear()
        for row in rows:
            if row not in self._costs:
                self._costs[row] = self._log_cost(row)
        return np.array([self._costs[row] for row in rows])

    def _reference_point(self, rng: np.random.Generator) -> tuple[float, float]:
        """The typical random architecture's top1, and about the largest cost: the part of the plane where a front is of
        use."""
        if self._given_reference is not None:
            return self._given_reference[0], min(self._given_reference[1], self._max_log_cost)
        population = self._canonical(random_rows(POPULATION, self._num_levels, rng))
        log_cost = self._log_costs(population)
        mean = self._top1.mean(population, log_cost)
        return float(np.median(mean)), min(float(np.quantile(log_cost, 0.99)), self._max_log_cost)

    def _with_unfinished(self, seen: Observations, pending_ND: np.ndarray, failed_ND: np.ndarray) -> Observations:
        """Believe the predictions of what is being trained, and the worst of what failed, lest the search return to
        where all fail.

        A failure may be bad luck, so its error is taken to be as large as the spread of what was trained.

        Source: the Kriging believer of Ginsbourger, Le Riche & Carraro, "Kriging Is Well-Suited to Parallelize
        Optimization", 2010.
        """
        if not len(pending_ND) and not len(failed_ND):
            return seen
        rows = np.vstack([pending_ND, failed_ND])
        log_cost = self._log_costs(rows)
        finished = seen.top1_N[seen.sd_N == 0]
        mean = self._top1.mean(rows, log_cost)
        mean[len(pending_ND) :] = finished.min()
        error = np.concatenate([np.zeros(len(pending_ND)), np.full(len(failed_ND), max(finished.std(), MIN_ERROR))])
        believed = Observations(*map(np.concatenate, zip(astuple(seen), (rows, mean, log_cost, error), strict=True)))
        self._top1.fit(believed.rows_ND, believed.log_cost_N, believed.top1_N, 0, believed.sd_N)
        return believed


def _informative(seen: Observations, rng: np.random.Generator) -> Observations:
    members = seen.front()
    # A stopped training may be cheaper than every member.
    position = np.maximum(np.searchsorted(seen.log_cost_N[members], seen.log_cost_N, side="right") - 1, 0)
    order = np.argsort(seen.top1_N[members][position] - seen.top1_N, kind="stable")
    near = order[: MAX_ROWS * 3 // 4]
    keep = np.concatenate([near, rng.choice(order[len(near) :], MAX_ROWS - len(near), replace=False)])
    return seen[keep]


def _allowed(rows_ND: np.ndarray, values_N: np.ndarray, excluded: Callable[[Row], bool]) -> Iterator[int]:
    """Indices of the rows that are not excluded, by falling value."""
    return (int(i) for i in np.argsort(-values_N, kind="stable") if not excluded(_row(rows_ND[i])))


def _row(row_D: np.ndarray) -> Row:
    return tuple(row_D.tolist())
