"""Pareto fronts of (top1, cost): who is on them, how good they are, which point to pick.

Two objectives: top1 is maximised, the cost (latency_ms, macs or param_count) is minimised. Hypervolume is taken over
(top1, ln cost), so that halving the cost is worth the same everywhere.
"""

import bisect
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np

from nas.records import Front, FrontMember, TrialFacts


def non_dominated_mask(loss_NM: np.ndarray) -> np.ndarray:
    """Mark the rows that no other row dominates.

    Row a dominates b when a <= b in every column and a < b in one. Equal rows are all kept.

    Args:
        loss_NM: (num_rows, num_objectives) float64, every column minimised, finite.

    Returns:
        (num_rows,) bool, in input order.

    Raises:
        ValueError: if a value is NaN or infinite; the message names the first such row.

    Source: definition of Kung, Luccio & Preparata, "On Finding the Maxima of a Set of Vectors", J. ACM 22(4), 1975.
    All pairs are compared: O(N^2 M) time, O(N M) memory.
    """
    bad_rows = np.flatnonzero(~np.isfinite(loss_NM).all(axis=1))
    if bad_rows.size:
        raise ValueError(f"row {bad_rows[0]} is {loss_NM[bad_rows[0]].tolist()}; only finite losses can be ranked")
    dominated = [bool(((loss_NM <= row).all(axis=1) & (loss_NM < row).any(axis=1)).any()) for row in loss_NM]
    return ~np.array(dominated, dtype=bool)


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


class FrontKeeper:
    """The current front of a study, updated trial by trial: O(log n) to look up, O(n) to insert, n = members."""

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
        self.stalled = stalled
        """COMPLETE and PRUNED trials since the hypervolume last grew."""

    @property
    def members(self) -> tuple[FrontMember, ...]:
        """By ascending cost and therefore ascending top1 (equal points stand side by side)."""
        return tuple(self._members)

    @property
    def hypervolume(self) -> float:
        return hypervolume(((m.top1, m.cost) for m in self._members), self._reference_point)

    def add(self, facts: TrialFacts) -> Front | None:
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

    def _joined(self, facts: TrialFacts) -> Front | None:
        cost = facts.cost(self._cost_objective)
        if facts.state != "COMPLETE" or facts.top1 is None or cost is None:
            return None
        member = FrontMember(facts.trial_number, facts.arch_hash, facts.top1, cost)
        if not self._insert(member):
            return None
        self._version += 1
        return Front(self._version, datetime.now(UTC), self._reference_point, self.hypervolume, self.members)

    def _insert(self, new: FrontMember) -> bool:
        # Members stand by ascending cost, so the last one that costs no more is also the most accurate of those.
        position = bisect.bisect_right(self._members, new.cost, key=lambda m: m.cost)
        if position:
            rival = self._members[position - 1]
            if rival.top1 > new.top1 or (rival.top1 == new.top1 and rival.cost < new.cost):
                return False
        survivors = [
            m
            for m in self._members
            if not (m.cost >= new.cost and m.top1 <= new.top1 and (m.cost, m.top1) != (new.cost, new.top1))
        ]
        bisect.insort(survivors, new, key=lambda m: (m.cost, m.top1, m.trial_number))
        self._members = survivors
        return True


def front_of(
    facts: Iterable[TrialFacts], cost_objective: str, reference_point: tuple[float, float]
) -> tuple[FrontMember, ...]:
    """Rebuild the front from the facts alone, whatever their order; what the recorded snapshots must equal."""
    keeper = FrontKeeper(cost_objective, reference_point)
    for trial in facts:
        keeper.add(trial)
    return keeper.members
