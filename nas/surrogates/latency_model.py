"""Latency predicted from what was timed on the same target: a table of parts and a learned correction.

The table is additive: each part of a network takes a time for its kind, and a time for each of its multiply-adds;
neither is negative. A Gaussian process over the genes (nas/surrogates/gaussian_process.py) learns the logarithm of what
the table misses. A prediction decides at most what is not worth timing: it never enters a front, a trial or a report of
one.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from nas.protocols import SearchSpace, traits_of
from nas.records import Genotype, TrialFacts
from nas.surrogates.gene_model import GeneModel
from nas.surrogates.genes import GeneLevels
from nas.surrogates.quality import Agreement, agreement, held_out

NEAR = 0.1
"""Relative error up to which a prediction counts as near."""
TAIL = 0.05
"""Share of the predictions that may overestimate by more than `HeldOut.overestimate`."""
MAX_TIMINGS = 300
"""The correction learns from no more timings than this, the latest: its time grows with the cube."""

MIN_REPORTED = 20
"""Timings below which `explain` says nothing about them."""


@dataclass(frozen=True, slots=True)
class PartTime:
    """A row of the table: what a part of one kind takes on the device."""

    kind: str
    num_parts: int
    """In all networks that were timed."""
    each_ms: float
    per_million_macs_ms: float
    share: float
    """What it takes of the time of all networks that were timed, as the table adds it up."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How well architectures are predicted that were not learned from."""

    timings: int
    near: float
    """Share that is within NEAR of the measured latency."""
    order: Agreement | None
    """Kendall's tau of predicted and measured latency; None where it is undefined."""
    overestimate: float
    """Factor, at least 1: a share of 1 - TAIL of the predictions is at most this many times the measured latency."""


def held_out_text(quality: HeldOut) -> str:
    """Timings, share near and order in one line."""
    order = quality.order
    tau = "undefined" if order is None else f"{order.tau:.2f} ({order.low:.2f} to {order.high:.2f})"
    return f"held out, {quality.timings} timings: {quality.near:.0%} within {NEAR:.0%}, Kendall's tau {tau}"


class LatencyModel:
    """Predicts the latency of architectures of one space on one target. Fit it, then predict."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._levels = GeneLevels(space.genes)

    def fit(self, genotypes: Sequence[Genotype], latency_ms: np.ndarray) -> "LatencyModel":
        """Learn from at least two valid genotypes and as many positive latencies, (num_timings,) ms.

        Source of the table: Wu et al., "FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural
        Architecture Search", CVPR 2019; here a row is a line over the multiply-adds, because a study sees too few
        networks for one row per size.
        """
        tallies = [self._tally(genotype) for genotype in genotypes]
        self._kinds = sorted(set().union(*(num for num, _ in tallies)))
        features = self._features(tallies)
        self._totals = features.sum(axis=0)
        # Divided by the latencies, so that errors are relative: networks of every size count alike.
        self._weights, _ = optimize.nnls(features / latency_ms[:, None], np.ones(len(latency_ms)))
        missed = np.log(latency_ms / np.maximum(features @ self._weights, 1e-3 * latency_ms))
        self._correction = GeneModel(self._space.genes, traits_of(self._space)).fit(
            self._levels.rows(genotypes), missed
        )
        return self

    def predict(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """(num_genotypes,) ms. A kind of part that was never timed counts nothing."""
        table_ms = self._features([self._tally(genotype) for genotype in genotypes]) @ self._weights
        predicted: np.ndarray = table_ms * np.exp(self._correction.mean(self._levels.rows(genotypes)))
        return predicted

    @property
    def table(self) -> tuple[PartTime, ...]:
        """A row for every kind that was timed, by falling share."""
        each, per_million = np.split(self._weights, 2)
        share = sum(np.split(self._totals * self._weights, 2)) / (self._totals @ self._weights)
        rows = [
            PartTime(kind, int(self._totals[place]), float(each[place]), float(per_million[place]), float(share[place]))
            for place, kind in enumerate(self._kinds)
        ]
        return tuple(sorted(rows, key=lambda row: (-row.share, row.kind)))

    def _tally(self, genotype: Genotype) -> tuple[Counter[str], Counter[str]]:
        """Parts and their multiply-adds by kind."""
        num: Counter[str] = Counter()
        macs: Counter[str] = Counter()
        for kind, part_macs in self._space.parts(self._space.architecture(genotype)):
            num[kind] += 1
            macs[kind] += part_macs
        return num, macs

    def _features(self, tallies: Sequence[tuple[Counter[str], Counter[str]]]) -> np.ndarray:
        """(num_genotypes, 2 num_kinds): how many parts of each kind, then their multiply-adds in millions."""
        rows = []
        for num, macs in tallies:
            counts = [float(num[kind]) for kind in self._kinds]
            rows.append(counts + [macs[kind] / 1e6 for kind in self._kinds])
        return np.array(rows)


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """What was learned of a study's timings, and how well it predicts."""

    quality: HeldOut
    table: tuple[PartTime, ...]


def latency_report(
    space: SearchSpace, facts: Sequence[TrialFacts], genotypes: Mapping[int, Genotype]
) -> LatencyReport | None:
    """What a study's timings tell; None where fewer than MIN_REPORTED of its trials were timed."""
    timed, latency_ms = timed_genotypes(facts, genotypes)
    if len(timed) < MIN_REPORTED:
        return None
    return LatencyReport(latency_quality(space, timed, latency_ms), LatencyModel(space).fit(timed, latency_ms).table)


def timed_genotypes(
    facts: Sequence[TrialFacts], genotypes: Mapping[int, Genotype]
) -> tuple[list[Genotype], np.ndarray]:
    """What a study timed on its target, whatever became of the trials: valid genotypes and (num_timings,) ms, of the
    latest timings."""
    timed = [
        (genotypes[trial.trial_number], trial.latency.median_ms)
        for trial in facts
        if trial.latency is not None and trial.trial_number in genotypes
    ][-MAX_TIMINGS:]
    return [genotype for genotype, _ in timed], np.array([ms for _, ms in timed])


def latency_quality(space: SearchSpace, genotypes: Sequence[Genotype], latency_ms: np.ndarray) -> HeldOut:
    """How well a LatencyModel predicts each architecture from those of the other folds.

    Args:
        space: of the genotypes.
        genotypes: valid, at least 2 FOLDS of them.
        latency_ms: (num_timings,) measured on one target.
    """

    def predict(rest: np.ndarray, fold: np.ndarray) -> np.ndarray:
        model = LatencyModel(space).fit([genotypes[place] for place in rest], latency_ms[rest])
        return model.predict([genotypes[place] for place in fold])

    predicted = held_out(len(genotypes), predict)
    ratios = np.sort(predicted / latency_ms)
    # As in conformal prediction (Vovk, Gammerman & Shafer, "Algorithmic Learning in a Random World", 2005): of n + 1
    # exchangeable ratios, a given one is above this with a probability of at most TAIL.
    rank = min(len(ratios), math.ceil((1 - TAIL) * (len(ratios) + 1)))
    return HeldOut(
        timings=len(ratios),
        near=float(np.mean(np.abs(ratios - 1) <= NEAR)),
        order=agreement(predicted, latency_ms),
        overestimate=max(1.0, float(ratios[rank - 1])),
    )
