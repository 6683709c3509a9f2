"""What the scores of a search were worth, told from its facts."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.records import Gene, Genotype, TrialFacts
from nas.surrogates.genes import GeneLevels
from nas.surrogates.quality import Quality
from nas.surrogates.scores import MIN_JUDGED, ArchitectureScore, Fidelity, Worth, worth_of
from nas.surrogates.training_free import TrainingFreeScore


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """One score beside the finished trainings of a study."""

    label: str
    fidelity: Fidelity
    worth: Worth | None
    """None with too few trainings, or where nothing varies."""
    num_known: int
    """Finished trainings whose score is known."""
    trusted_since: int | None
    """Number of the trial from which on all were proposed around it; None where the last one was not."""
    model: Quality | None = None
    """How well the model of a training-free score predicts networks that it has not seen; None for other scores, and
    where too little is known for a model."""


def score_reports(
    scores: Sequence[ArchitectureScore],
    genes: Sequence[Gene],
    facts: Sequence[TrialFacts],
    genotypes: Mapping[int, Genotype],
    trusted: Mapping[int, str | None],
) -> tuple[ScoreReport, ...]:
    """Compare every score with the finished trainings, and tell when the sampler trusted it.

    Args:
        scores: of the search.
        genes: of its space.
        facts: all trials, in the order in which they ended.
        genotypes: valid genotype of every trial, by number.
        trusted: label of the score that every trial was proposed around, by number.
    """
    complete = [trial for trial in facts if trial.state == "COMPLETE"]
    levels = GeneLevels(genes)
    rows = levels.canonical(levels.rows([genotypes[trial.trial_number] for trial in complete]))
    top1 = np.array([trial.top1 for trial in complete], dtype=float)
    values = [score(rows) if complete else np.zeros(0) for score in scores]
    return tuple(
        ScoreReport(
            score.label,
            score.fidelity,
            worth_of(known, top1),
            int(np.isfinite(known).sum()),
            _since(score.label, trusted),
            score.quality() if isinstance(score, TrainingFreeScore) else None,
        )
        for score, known in zip(scores, values, strict=True)
    )


def _since(label: str, trusted: Mapping[int, str | None]) -> int | None:
    latest = itertools.takewhile(lambda number: trusted[number] == label, sorted(trusted, reverse=True))
    return min(latest, default=None)


def score_text(report: ScoreReport) -> str:
    """One line for people."""
    told = f"{report.label}: {_worth_text(report)}"
    model = report.model
    if model is None or model.r2 is None:
        return told
    return f"{told}; its model of {model.trials} untrained networks predicts others with R2 {model.r2:.2f}"


def _worth_text(report: ScoreReport) -> str:
    worth = report.worth
    if report.num_known < MIN_JUDGED:
        return f"not judged yet, with {report.num_known} of {MIN_JUDGED} trainings; not used"
    if worth is None:
        return f"cannot be judged: it or top1 is the same for all {report.num_known} trainings; not used"
    agrees = f"r {worth.r:.2f} ({worth.low:.2f} to {worth.high:.2f}) with top1 over {worth.num} trainings"
    if report.trusted_since is None:
        return f"{agrees}; a gene of the surrogate at most, not trusted"
    return f"{agrees}; trusted since trial {report.trusted_since}"
