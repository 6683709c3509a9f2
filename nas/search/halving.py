"""Successive halving by Pareto rank: at each rung of its training a candidate goes on only if few are better there.

Asynchronous: the decision falls as soon as a score arrives, against the last that reached the same rung, so no worker
waits. Only the last, because a search proposes better and better candidates: against all, nearly every one would go on.
A stopped candidate keeps its curve and is PRUNED; its score never enters a front (DESIGN 2.11).

Sources: asynchronous halving, Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020; ranks and
crowding distance, Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", IEEE TEC 2002; both
together, Schmucker et al., "Multi-objective Asynchronous Successive Halving", 2021.
"""

import math
from collections.abc import Iterable

import numpy as np

from nas.pareto.front import dominates
from nas.records import TrialFacts
from nas.surrogates.curves import MIN_PAIRS

WINDOW = 24
"""Scores at a rung, the latest included, among which it is ranked."""


class ParetoHalving:
    """What reached each rung so far, and who goes on. Rebuilt from the facts after a restart, in the order in which
    trials ended."""

    def __init__(self, keep: float, cost_objective: str, facts: Iterable[TrialFacts] = ()) -> None:
        """Begin with the rungs of the trials that are over.

        Args:
            keep: share of the candidates that goes on from each rung, in (0, 1]; 1 stops nobody.
            cost_objective: latency_ms, macs or param_count.
            facts: of the study so far.
        """
        self._keep = keep
        self._points: dict[int, dict[int, tuple[float, float]]] = {}
        """rung -> trial number -> (top1, cost)."""
        for trial in facts:
            cost = trial.cost(cost_objective)
            if cost is not None:
                for score in trial.rungs:
                    self._points.setdefault(score.rung, {})[trial.trial_number] = score.top1, cost

    def proceeds(self, trial_number: int, rung: int, top1: float, cost: float) -> bool:
        """Record a score and decide whether its training goes on.

        Args:
            rung: 0-based.
            top1: at this rung.
            cost: of the cost objective, > 0.

        Returns:
            Whether the candidate is among the first MIN_PAIRS, or the best ceil(keep * n) of the last n <= WINDOW that
            reached this rung, itself included.
        """
        points = self._points.setdefault(rung, {})
        points.pop(trial_number, None)  # of an attempt that was lost with its worker
        points[trial_number] = top1, cost
        if len(points) <= MIN_PAIRS:
            # So few rank nobody, and what a stopped training would have reached can only be told from that many
            # finished ones.
            return True
        latest = np.array(list(points.values())[-WINDOW:])
        ahead = pareto_order(latest).tolist().index(len(latest) - 1)
        return bool(ahead < math.ceil(self._keep * len(latest)))


def pareto_order(points_N2: np.ndarray) -> np.ndarray:
    """Indices from best to worst: by non-dominated rank, within a rank the lonelier first, then by index.

    Args:
        points_N2: (num_points, 2) top1, to maximise, and cost > 0, to minimise.

    Returns:
        (num_points,) int, a permutation.
    """
    loss = np.column_stack([-points_N2[:, 0], np.log(points_N2[:, 1])])
    ranks = non_dominated_ranks(points_N2)
    lonely = np.zeros(len(loss))
    for rank in range(ranks.max() + 1):
        lonely[ranks == rank] = crowding_distance(loss[ranks == rank])
    order: np.ndarray = np.lexsort((-lonely, ranks))
    return order


def non_dominated_ranks(points_N2: np.ndarray) -> np.ndarray:
    """0 for the front, 1 for the front of what is left without it, and so on.

    Args:
        points_N2: (num_points, 2) top1, to maximise, and cost, to minimise.

    Returns:
        (num_points,) int.

    All pairs are compared: O(N^2) time and memory.

    Source: Deb et al., IEEE TEC 2002, section III.
    """
    losses = np.column_stack([-points_N2[:, 0], points_N2[:, 1]])
    beats = dominates(losses[:, None], losses)
    ranks = np.zeros(len(losses), dtype=int)
    is_left = np.ones(len(losses), dtype=bool)
    rank = 0
    while is_left.any():
        is_front = is_left & ~beats[is_left].any(axis=0)
        ranks[is_front] = rank
        is_left &= ~is_front
        rank += 1
    return ranks


def crowding_distance(loss_NM: np.ndarray) -> np.ndarray:
    """How lonely each row is among rows that do not dominate each other: the gaps to its neighbours, per column and
    summed.

    Args:
        loss_NM: (num_rows, num_objectives).

    Returns:
        (num_rows,) >= 0; infinite for the ends of a column.
    """
    distance = np.zeros(len(loss_NM))
    for column in loss_NM.T:
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        gaps = np.full(len(column), math.inf)
        gaps[1:-1] = (column[order[2:]] - column[order[:-2]]) / (spread or 1.0)
        distance[order] += gaps
    return distance
