"""How the members of a front came about: each one's nearest earlier relative, back to the first trial."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.records import FrontMember, Gene, TrialFacts, Value


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A finished trial and how it differs from its nearest earlier relative."""

    trial_number: int
    top1: float
    cost: float
    """In the unit of the study's cost objective."""
    parent: int | None
    """Trial number of the relative; None for the first finished trial."""
    changed: tuple[tuple[str, Value, Value], ...] = ()
    """(gene, the parent's value, its own value)."""
    top1_change: float = 0.0
    cost_percent: float = 0.0
    """Change of the cost against the parent's."""


def lineages(
    genes: Sequence[Gene],
    complete: Sequence[TrialFacts],
    rows: np.ndarray,
    cost_objective: str,
    members: Sequence[FrontMember],
) -> tuple[tuple[Ancestor, ...], ...]:
    """The chain of each member: itself, the earlier finished trial with the fewest different genes (of equals the
    latest), and so on.

    Nobody recorded where a genotype came from: a relative is near, not necessarily what the sampler started from.

    Args:
        genes: of the space.
        complete: finished trials in the order in which they ended.
        rows: their levels, (num_trials, num_genes) int.
        cost_objective: latency_ms, macs or param_count.
        members: of the front, all of them among the trials.
    """
    places = {trial.trial_number: place for place, trial in enumerate(complete)}
    return tuple(lineage(places[member.trial_number], genes, complete, rows, cost_objective) for member in members)


def lineage(
    place: int, genes: Sequence[Gene], complete: Sequence[TrialFacts], rows: np.ndarray, cost_objective: str
) -> tuple[Ancestor, ...]:
    """The chain of the trial at one place of `complete`; the other arguments are those of `lineages`."""
    chain: list[Ancestor] = []
    while True:
        trial = complete[place]
        top1 = float(trial.top1 or 0.0)
        cost = float(trial.cost(cost_objective) or 0.0)
        if place == 0:
            return (*chain, Ancestor(trial.trial_number, top1, cost, None))
        distances = (rows[:place] != rows[place]).sum(axis=1)
        nearest = int(np.flatnonzero(distances == distances.min())[-1])
        parent = complete[nearest]
        changed = tuple(
            (gene.name, gene.values[before], gene.values[after])
            for gene, before, after in zip(genes, rows[nearest], rows[place], strict=True)
            if before != after
        )
        percent = 100 * (cost / float(parent.cost(cost_objective) or cost) - 1)
        chain.append(
            Ancestor(
                trial.trial_number, top1, cost, parent.trial_number, changed, top1 - float(parent.top1 or 0.0), percent
            )
        )
        place = nearest
