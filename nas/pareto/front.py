"""Pareto fronts of (top1, cost): who is on them, how good they are, which point to pick.

Two objectives: top1 is maximised, the cost (latency_ms, macs or param_count) is minimised. Hypervolume is taken over
(top1, ln cost), so that halving the cost is worth the same everywhere.
"""

import bisect
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np

from nas.records import Front, FrontMember, Outcome, TrialFacts


def as_losses(points: Iterable[tuple[float, float]]) -> np.ndarray:
    """(top1, cost) pairs as rows (-top1, cost), (num_points, 2), of which both columns are minimised."""
    return np.array([(-top1, cost) for top1, cost in points], dtype=float).reshape(-1, 2)


def dominates(loss: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether points are no worse than others in every objective and better in one; equal points are not.

    Args:
        loss: (..., num_objectives), every objective minimised, finite.
        other: the same, of a shape that broadcasts with it.

    Returns:
        (...) bool: whether `loss` dominates `other`.

    Source: definition of Kung, Luccio & Preparata, "On Finding the Maxima of a Set of Vectors", J. ACM 22(4), 1975.
    """
    dominated: np.ndarray = np.all(loss <= other, axis=-1) & np.any(loss < other, axis=-1)
    return dominated


def non_dominated_mask(loss_NM: np.ndarray) -> np.ndarray:
    """Mark the rows that no other row dominates. Equal rows are all kept.

    Args:
        loss_NM: (num_rows, num_objectives) float64, every column minimised, finite.

    Returns:
        (num_rows,) bool, in input order.

    Raises:
        ValueError: if a value is NaN or infinite; the message names the first such row.

    All pairs are compared: O(N^2 M) time, O(N M) memory.
    """
    bad_rows = np.flatnonzero(~np.isfinite(loss_NM).all(axis=1))
    if bad_rows.size:
        raise ValueError(f"row {bad_rows[0]} is {loss_NM[bad_rows[0]].tolist()}; only finite losses can be ranked")
    dominated = [dominates(loss_NM, row).any() for row in loss_NM]
    return ~np.array(dominated, dtype=bool)


def front_rows(top1_N: np.ndarray, cost_N: np.ndarray) -> np.ndarray:
    """Indices of the rows that no other dominates (top1 maximised, cost minimised), by ascending cost; of equal rows
    the first.

    What `non_dominated_mask` marks, less repeats, for very many rows and in every ask: one sort, O(N log N) time.

    Source: the sweep of Kung, Luccio & Preparata for two objectives.
    """
    order = np.lexsort((-top1_N, cost_N))
    best = np.maximum.accumulate(top1_N[order])
    rows: np.ndarray = order[np.concatenate([[True], best[1:] > best[:-1]])]
    return rows


def hypervolume(points: Iterable[tuple[float, float]], reference_point: tuple[float, float]) -> float:
    """Area that the points dominate over (top1, ln cost), bounded by the reference point.

    Args:
        points: (top1, cost) pairs, cost > 0, in any order; dominated ones and those beyond the reference point add
            nothing.
        reference_point: (top1, cost): the worst values that still count.

    Returns:
        top1 times ln(cost) area, >= 0.
    """
    reference_top1, reference_cost = reference_point
    inside = [(top1, cost) for top1, cost in points if top1 > reference_top1 and cost < reference_cost]
    area = 0.0
    best_top1 = reference_top1
    for top1, cost in sorted(inside, key=lambda point: (point[1], -point[0])):
        if top1 > best_top1:
            area += (top1 - best_top1) * math.log(reference_cost / cost)
            best_top1 = top1
    return area


def knee(members: Sequence[FrontMember]) -> FrontMember:
    """The member farthest above the straight line between the two ends of the front, in (ln cost, top1) scaled to the
    unit square.

    With one or two members it is the more accurate one.

    Args:
        members: a non-empty front, by ascending cost.

    Source: the bend of Branke, Deb, Dierolf & Osswald, "Finding Knees in Multi-objective Optimization", PPSN 2004, in
    its distance-to-the-extreme-line form (Das, "On characterizing the knee of the Pareto curve", Structural
    Optimization 18, 1999).
    """
    first = members[0]
    last = members[-1]
    if len(members) <= 2:
        return last
    width = math.log(last.cost / first.cost)
    height = last.top1 - first.top1

    def bend(member: FrontMember) -> float:
        return (member.top1 - first.top1) / height - math.log(member.cost / first.cost) / width

    return max(members, key=bend)


def knee_number(members: Sequence[FrontMember]) -> int | None:
    """Trial number of the knee of a front; None for an empty one."""
    return knee(members).trial_number if members else None


class FrontKeeper:
    """The current front of a study, updated trial by trial, each in O(n log n) for n members."""

    def __init__(
        self, cost_objective: str, reference_point: tuple[float, float], latest: Front | None = None, stalled: int = 0
    ) -> None:
        """Continue from the latest recorded front, or start empty.

        Args:
            cost_objective: latency_ms, macs or param_count.
            reference_point: (top1, cost) of the study.
            latest: the newest snapshot of the study.
            stalled: evaluated trials since the hypervolume last grew, of earlier runs.
        """
        self._cost_objective = cost_objective
        self._reference_point = reference_point
        self._version = 0 if latest is None else latest.version
        self._members: list[FrontMember] = [] if latest is None else list(latest.members)
        self._hypervolume = self._area()
        self.stalled = stalled
        """COMPLETE and PRUNED trials since the hypervolume last grew."""

    @property
    def members(self) -> tuple[FrontMember, ...]:
        """By ascending cost and therefore ascending top1 (equal points stand side by side)."""
        return tuple(self._members)

    @property
    def hypervolume(self) -> float:
        return self._hypervolume

    def _area(self) -> float:
        return hypervolume(((m.top1, m.cost) for m in self._members), self._reference_point)

    def add(self, facts: Outcome) -> Front | None:
        """Take in a trial that finished the last rung.

        Args:
            facts: any trial; only COMPLETE ones can change a front (DESIGN 2.11).

        Returns:
            The new snapshot when the trial joined the front, else None.
        """
        before = self.hypervolume
        front = self._joined(facts)
        if facts.is_counted:
            grown = front is not None and front.hypervolume > before
            self.stalled = 0 if grown else self.stalled + 1
        return front

    def _joined(self, facts: Outcome) -> Front | None:
        cost = facts.cost(self._cost_objective)
        if facts.state != "COMPLETE" or facts.top1 is None or cost is None:
            return None
        member = FrontMember(facts.trial_number, facts.arch_hash, facts.top1, cost)
        if not self._insert(member):
            return None
        self._version += 1
        return Front(self._version, datetime.now(UTC), self._reference_point, self.hypervolume, self.members)

    def _insert(self, new: FrontMember) -> bool:
        place = bisect.bisect_right(self._members, new.cost, key=lambda member: member.cost)
        # Of those that cost no more, the last is the most accurate; if any beats the new one, it does.
        if place and _beats(self._members[place - 1], new):
            return False
        survivors = [member for member in self._members if not _beats(new, member)]
        bisect.insort(survivors, new, key=lambda m: (m.cost, m.top1, m.trial_number))
        self._members = survivors
        self._hypervolume = self._area()
        return True


def _beats(member: FrontMember, other: FrontMember) -> bool:
    """Whether it dominates: no worse in both objectives, better in one."""
    is_better = member.top1 > other.top1 or member.cost < other.cost
    return is_better and member.top1 >= other.top1 and member.cost <= other.cost


def front_of(
    facts: Iterable[TrialFacts], cost_objective: str, reference_point: tuple[float, float]
) -> tuple[FrontMember, ...]:
    """Rebuild the front from the facts alone, whatever their order; what the recorded snapshots must equal."""
    keeper = FrontKeeper(cost_objective, reference_point)
    for trial in facts:
        keeper.add(trial)
    return keeper.members
