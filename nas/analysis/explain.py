"""What the results of a study say about its genes: which of them move top1 and the cost, how the members of the front
came about, and what changing one gene of one trial is expected to do."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.analysis.influence import GeneReport, gene_reports
from nas.analysis.lineage import Ancestor, lineage, lineages
from nas.analysis.score_reports import ScoreReport
from nas.errors import InvalidInputError, NasError
from nas.protocols import SearchSpace, traits_of
from nas.records import Front, Genotype, StudyRecord, TrialFacts, Value, facts_by_number
from nas.surrogates.gene_model import GeneModel
from nas.surrogates.genes import GeneLevels
from nas.surrogates.latency_model import LatencyReport, latency_report
from nas.surrogates.quality import Quality, held_out, quality_of
from nas.surrogates.threads import one_thread

MIN_TRIALS = 10
"""Finished trials below which nothing is explained."""
FEW_TRIALS = 20
"""Below this, and below a held-out R2 of POOR_R2, the explanation carries a warning."""
POOR_R2 = 0.3
MAX_TRIALS = 300
"""The surrogates learn from no more trials than this, a random choice: their time grows with the cube."""

LogCost = Callable[[np.ndarray], np.ndarray]
"""Rows of levels of valid genotypes, (num_rows, num_genes) -> ln cost, (num_rows,)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One gene of a trial set to another value."""

    gene: str
    before: Value
    after: Value
    no_effect: str | None
    """Why the same network is built (switched off, repaired away); None when another one is."""
    also: tuple[str, ...] = ()
    """Other genes that repair changes as well."""
    top1: float = 0.0
    """Expected change."""
    top1_sd: float = 0.0
    """Standard deviation of that change, noise of a training left out."""
    cost_percent: float = 0.0
    """Change of the cost: exact for macs and param_count, expected for latency_ms."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that `explain` says."""

    study: str
    cost_objective: str
    trials: int
    """COMPLETE ones, which it rests on."""
    left_out: Mapping[str, int]
    """Others, by state."""
    learned_from: int
    """What the surrogates were fitted to; fewer than `trials` in a large study."""
    quality: tuple[Quality, ...]
    """How well top1 is predicted, and latency_ms; macs and param_count are counted, not predicted."""
    warnings: tuple[str, ...]
    genes: tuple[GeneReport, ...]
    """By falling influence on top1."""
    lineages: tuple[tuple[Ancestor, ...], ...]
    """The chain of each member of the front, itself first, the root last."""
    trial_number: int | None
    changes: tuple[Change, ...]
    """Single-gene changes of that trial, the highest expected top1 first; those without effect last."""
    latency: LatencyReport | None
    """What the parts of a network take on the study's target; None with too few timings."""
    scores: tuple[ScoreReport, ...] = ()
    """What each score that guided the search was worth."""
    lineage: tuple[Ancestor, ...] = ()
    """The chain of that trial, on the front or not."""


def explain(
    space: SearchSpace,
    study: StudyRecord,
    facts: Sequence[TrialFacts],
    front: Front | None,
    genotypes: Mapping[int, Genotype],
    trial_number: int | None = None,
    scores: Sequence[ScoreReport] = (),
) -> Explanation:
    """Learn from the finished trials of a study.

    Args:
        space: made for the study.
        study: its record.
        facts: all its trials, in the order in which they ended.
        front: its latest snapshot.
        genotypes: valid genotype of every trial, by number.
        trial_number: whose single-gene changes are predicted; None for no trial.
        scores: what is told of those that guided the search.

    Raises:
        InvalidInputError: if the space is not the study's any more, or the trial is unknown or did not finish.
        NasError: if fewer than MIN_TRIALS finished.
    """
    complete = _complete(space, study, facts, trial_number)
    objective = study.cost_objective
    rows = GeneLevels(space.genes).rows([genotypes[trial.trial_number] for trial in complete])
    top1 = np.array([trial.top1 for trial in complete], dtype=float)
    origin = next((place for place, trial in enumerate(complete) if trial.trial_number == trial_number), None)
    chosen = _chosen(len(complete), origin)
    with one_thread():
        model = GeneModel(space.genes, traits_of(space)).fit(rows[chosen], top1[chosen])
        quality = [gene_quality(space, rows[chosen], top1[chosen], "top1")]
        log_cost: LogCost
        if objective == "latency_ms":
            measured = np.log([float(trial.cost(objective) or math.nan) for trial in complete])[chosen]
            log_cost = GeneModel(space.genes, traits_of(space)).fit(rows[chosen], measured).mean
            quality.append(gene_quality(space, rows[chosen], measured, objective))
        else:
            log_cost = _counted(space, objective)
        changes = () if origin is None else changes_of(space, genotypes[complete[origin].trial_number], model, log_cost)
        latency = latency_report(space, facts, genotypes)
        genes = gene_reports(space, lambda rows: np.column_stack([model.mean(rows), log_cost(rows)]))
    return Explanation(
        study=study.name,
        cost_objective=objective,
        trials=len(complete),
        left_out=dict(Counter(trial.state for trial in facts if trial.state != "COMPLETE")),
        learned_from=len(chosen),
        quality=tuple(quality),
        warnings=_warnings(quality),
        genes=genes,
        lineages=lineages(space.genes, complete, rows, objective, () if front is None else front.members),
        trial_number=trial_number,
        changes=changes,
        latency=latency,
        scores=tuple(scores),
        lineage=() if origin is None else lineage(origin, space.genes, complete, rows, objective),
    )


def _complete(
    space: SearchSpace, study: StudyRecord, facts: Sequence[TrialFacts], trial_number: int | None
) -> list[TrialFacts]:
    """The finished trials, once everything that was given is known to be right."""
    if space.space_hash != study.space_hash:
        raise InvalidInputError(
            f"study {study.name!r} searched {study.space} {study.space_hash[:12]}, and this version of the code has "
            f"{space.space_hash[:12]}: its genes mean something else; explain it with version {study.code_version}"
        )
    by_number = facts_by_number(facts)
    if trial_number is not None and trial_number not in by_number:
        known = f"its trials are {min(by_number)} to {max(by_number)}" if by_number else "it has no trials yet"
        raise InvalidInputError(f"--trial is {trial_number}, and study {study.name!r} has no such trial; {known}")
    if trial_number is not None and by_number[trial_number].state != "COMPLETE":
        state = by_number[trial_number].state
        raise InvalidInputError(
            f"--trial is {trial_number}, and that trial is {state}; expected one that finished (COMPLETE)"
        )
    complete = [trial for trial in facts if trial.state == "COMPLETE"]
    if len(complete) < MIN_TRIALS:
        raise NasError(
            f"study {study.name!r} has {len(complete)} finished trials; an explanation needs {MIN_TRIALS}: search on"
        )
    return complete


def _chosen(num_trials: int, origin: int | None) -> np.ndarray:
    """Places of the trials to learn from, `origin` among them."""
    if num_trials <= MAX_TRIALS:
        return np.arange(num_trials)
    drawn = np.random.default_rng(0).choice(num_trials, MAX_TRIALS, replace=False)
    return np.unique(drawn if origin is None else np.append(drawn, origin))


def _counted(space: SearchSpace, objective: str) -> LogCost:
    levels = GeneLevels(space.genes)
    return lambda rows: np.log([float(getattr(space.genotype_costs(levels.genotype(row)), objective)) for row in rows])


def _warnings(quality: Sequence[Quality]) -> tuple[str, ...]:
    few = quality[0].trials < FEW_TRIALS
    lines = [f"only {quality[0].trials} finished trials: every number below is a guess"] if few else []
    for item in quality:
        if item.r2 is None or item.r2 < POOR_R2:
            said = "is constant" if item.r2 is None else f"is predicted poorly (held-out R2 {item.r2:.2f})"
            lines.append(f"{item.target} {said}: do not trust what is said about it")
    return tuple(lines)


def gene_quality(space: SearchSpace, rows: np.ndarray, target: np.ndarray, name: str) -> Quality:
    """How well a GeneModel predicts each trial from those of the other folds.

    Args:
        rows: (num_trials, num_genes) int.
        target: (num_trials,) top1, or ln latency, of which R2 and rank correlation are then.
        name: of the target.
    """

    def predict(rest: np.ndarray, fold: np.ndarray) -> np.ndarray:
        return GeneModel(space.genes, traits_of(space)).fit(rows[rest], target[rest]).mean(rows[fold])

    return quality_of(name, held_out(len(rows), predict), target)


def changes_of(space: SearchSpace, genotype: Genotype, top1: GeneModel, log_cost: LogCost) -> tuple[Change, ...]:
    """Every change of one gene of `genotype`, which `top1` has learned from."""
    own = space.architecture(genotype)
    inert = []
    effective = []
    for gene in space.genes:
        for value in gene.values:
            if value == genotype[gene.name]:
                continue
            valid = space.repair({**genotype, gene.name: value})
            if space.architecture(valid).arch_hash != own.arch_hash:
                effective.append((gene.name, value, valid))
                continue
            why = "switched off by another gene" if valid[gene.name] == value else "repaired away"
            inert.append(Change(gene.name, genotype[gene.name], value, why))
    if not effective:
        return tuple(inert)
    rows = GeneLevels(space.genes).rows([genotype, *(valid for _, _, valid in effective)])
    mean, sd = top1.differences(rows[0], rows[1:])
    ratios = np.exp(log_cost(rows[1:]) - log_cost(rows[:1]))
    changes = []
    for (name, value, valid), expected, spread, ratio in zip(effective, mean, sd, ratios, strict=True):
        wanted = {**genotype, name: value}
        also = tuple(f"{other} {valid[other]}" for other in genotype if valid[other] != wanted[other])
        changes.append(
            Change(name, genotype[name], value, None, also, float(expected), float(spread), float(100 * (ratio - 1)))
        )
    return (*sorted(changes, key=lambda change: -change.top1), *inert)
