"""Which genes move a function of the genes, and in which direction.

Shares are Sobol indices over random architectures: every gene uniform and independent before repair, which is part of
the function. Because a gene has few values, all of them are tried at each random point, and both indices are plain
averages.

Source: Homma & Saltelli, "Importance measures in global sensitivity analysis of nonlinear models", Reliability
Engineering & System Safety 52, 1996.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nas.protocols import SearchSpace
from nas.records import Value
from nas.surrogates.genes import GeneLevels

POINTS = 256
"""Random architectures at which every value of every gene is tried."""
VARIANCE_POINTS = 2048

Function = Callable[[np.ndarray], np.ndarray]
"""Rows of levels (num_rows, num_genes) -> (num_rows, num_targets)."""


@dataclass(frozen=True, slots=True)
class Influence:
    """How much one gene moves one target, and where to."""

    alone: float
    """First-order index: the share of the variance that this gene explains by itself."""
    total: float
    """Total index: the share that would remain if all others were known; interactions included."""
    effects: tuple[float, ...]
    """Mean change by each value against the mean of all, in the order of the values: of top1, or of ln cost."""


@dataclass(frozen=True, slots=True)
class GeneReport:
    """One gene, its values and what they do."""

    gene: str
    ordered: bool
    values: tuple[Value, ...]
    top1: Influence
    cost: Influence

    @property
    def best_for_top1(self) -> Value:
        return self.values[int(np.argmax(self.top1.effects))]

    @property
    def cheapest(self) -> Value:
        return self.values[int(np.argmin(self.cost.effects))]


def gene_reports(space: SearchSpace, function: Function) -> tuple[GeneReport, ...]:
    """Influence of every gene on the two columns of `function`, by falling influence on the first."""
    rng = np.random.default_rng(0)
    sizes = [len(gene.values) for gene in space.genes]
    levels = GeneLevels(space.genes)

    def at(raw: np.ndarray) -> np.ndarray:
        return function(levels.rows([space.repair(levels.genotype(row)) for row in raw]))

    variance = at(rng.integers(sizes, size=(VARIANCE_POINTS, len(sizes)))).var(axis=0)
    per_variance = np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 1e-18)
    points = rng.integers(sizes, size=(POINTS, len(sizes)))
    reports = []
    for place, gene in enumerate(space.genes):
        tried = np.repeat(points[:, None, :], sizes[place], axis=1)
        tried[:, :, place] = np.arange(sizes[place])
        values = at(tried.reshape(-1, len(sizes))).reshape(POINTS, sizes[place], -1)
        effects = values.mean(axis=0) - values.mean(axis=(0, 1))
        alone = effects.var(axis=0) * per_variance
        total = values.var(axis=1).mean(axis=0) * per_variance
        top1, cost = (Influence(float(alone[t]), float(total[t]), tuple(effects[:, t].tolist())) for t in (0, 1))
        reports.append(GeneReport(gene.name, gene.ordered, gene.values, top1, cost))
    return tuple(sorted(reports, key=lambda report: (-report.top1.total, -report.cost.total, report.gene)))
