"""What the scores of a search were worth, told from its facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.records import Gene, Genotype, TrialFacts
from nas.surrogates.gaussian_process import Refits
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
    trusted_since: int | None
    """Finished trainings after which it was trusted until now; None while it is not."""
    model: Quality | None = None
    """How well the model of a training-free score predicts networks that it has not seen; None for other scores, and
    where too little is known for a model."""


def score_reports(
    scores: Sequence[ArchitectureScore],
    genes: Sequence[Gene],
    facts: Sequence[TrialFacts],
    genotypes: Mapping[int, Genotype],
) -> tuple[ScoreReport, ...]:
    """Judge every score at each refit that a search with one worker would have made.

    Args:
        scores: of the search.
        genes: of its space.
        facts: all trials, in the order in which they ended.
        genotypes: valid genotype of every trial, by number.
    """
    complete = [trial for trial in facts if trial.state == "COMPLETE"]
    levels = GeneLevels(genes)
    rows = levels.canonical(levels.rows([genotypes[trial.trial_number] for trial in complete]))
    top1 = np.array([trial.top1 for trial in complete], dtype=float)
    return tuple(_report(score, score(rows) if len(rows) else np.zeros(0), top1) for score in scores)


def _report(score: ArchitectureScore, values_N: np.ndarray, top1_N: np.ndarray) -> ScoreReport:
    refits = Refits()
    since = None
    for num in range(MIN_JUDGED, len(top1_N) + 1):
        if not refits.iterations(num):
            continue
        worth = worth_of(values_N[:num], top1_N[:num])
        if worth is None or not worth.is_trusted:
            since = None
        elif since is None:
            since = num
    model = score.quality() if isinstance(score, TrainingFreeScore) else None
    return ScoreReport(score.label, score.fidelity, worth_of(values_N, top1_N), since, model)


def score_text(report: ScoreReport) -> str:
    """One line for people."""
    told = f"{report.label}: {_worth_text(report)}"
    model = report.model
    if model is None or model.r2 is None:
        return told
    return f"{told}; its model of {model.trials} untrained networks predicts others with R2 {model.r2:.2f}"


def _worth_text(report: ScoreReport) -> str:
    if report.worth is None:
        return "not judged yet; a gene of the surrogate"
    worth = report.worth
    agrees = f"r {worth.r:.2f} ({worth.low:.2f} to {worth.high:.2f}) with top1 over {worth.num} trainings"
    if report.trusted_since is None:
        return f"{agrees}; a gene of the surrogate, not trusted"
    return f"{agrees}; trusted since training {report.trusted_since}"
