"""May the search's proxy be believed? Its order of a study's architectures against that of a long training, for a
sample of all ranks."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from nas.analysis.audit_log import AuditTraining
from nas.records import COUNTED_STATES, JSON, StudyRecord, TrialFacts
from nas.surrogates.proxies import AZ_NAS
from nas.surrogates.quality import Agreement, agreement
from nas.surrogates.training_free import az_nas_scores
from nas.text import cost_text, json_text, text_table

BELIEVABLE_TAU = 0.4
"""Below it an order is nearer to chance than to the truth."""
MIN_COUNT = 5
"""Architectures below which an order says nothing."""
MORE = "give a larger --count, or search on if all are in"

Kind = Literal["search", "rung", "cost", "zero_cost"]


@dataclass(frozen=True, slots=True)
class Predictor:
    """Something that is known before the final training, and how well it ranks what that gives."""

    name: str
    kind: Kind
    num: int
    """Architectures of the sample that have it."""
    agreement: Agreement | None
    """None where it, or the final top1, is the same for all of them."""


@dataclass(frozen=True, slots=True)
class AuditedTrial:
    """One architecture of the sample."""

    trial_number: int
    state: str
    layout: str
    rungs: tuple[float, ...]
    """top1 in the search, at each rung it reached."""
    param_count: int
    macs: int
    final_top1: float
    zero_cost: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that `audit` says."""

    study: str
    recipe: JSON
    """How the final trainings were done."""
    seed: int
    """Seed of every final training."""
    trials: tuple[AuditedTrial, ...]
    """By falling final top1."""
    predictors: tuple[Predictor, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        return audit_text(self)


def stratified_sample(
    facts: Sequence[TrialFacts], count: int, seed: int, trained: Collection[str] = ()
) -> list[TrialFacts]:
    """Trials of all ranks: the order of top1 in the search is cut into equal strata, and each gives one.

    Only COMPLETE trials have the proxy's score, so they are at least half of the sample. PRUNED ones, ordered by how
    far they came and their last top1, are there for the earlier rungs, whose judgement on what they stopped would not
    be seen otherwise. Within a stratum an architecture that is trained already comes first, then the lowest SHA-256 of
    seed and arch_hash: the choice knows nothing of the final top1, the same arguments give the same sample, and a
    larger one has much in common with a smaller one.

    Args:
        facts: all trials of a study.
        count: wanted; the sample is smaller where the study has too few trials.
        seed: of the choice.
        trained: arch_hash of those with a final training.

    Returns:
        By trial number.
    """

    def preference(trial: TrialFacts) -> tuple[bool, str]:
        return trial.arch_hash not in trained, _lot(seed, trial.arch_hash)

    complete = sorted((trial for trial in facts if trial.state == "COMPLETE"), key=_progress)
    pruned = sorted((trial for trial in facts if trial.state == "PRUNED"), key=_progress)
    share = round(count * len(complete) / max(1, len(complete) + len(pruned)))
    num_complete = min(len(complete), max((count + 1) // 2, share, count - len(pruned)))
    num_pruned = min(len(pruned), count - num_complete, num_complete)
    chosen: list[TrialFacts] = []
    for trials, num in ((complete, num_complete), (pruned, num_pruned)):
        bounds = [place * len(trials) // max(1, num) for place in range(num + 1)]
        chosen += [min(trials[low:high], key=preference) for low, high in itertools.pairwise(bounds)]
    return sorted(chosen, key=lambda trial: trial.trial_number)


def _progress(trial: TrialFacts) -> tuple[int, float, int]:
    return -len(trial.rungs), -(trial.top1 or 0.0), trial.trial_number


def _lot(seed: int, arch_hash: str) -> str:
    return hashlib.sha256(f"{seed}:{arch_hash}".encode()).hexdigest()


def audit(
    study: StudyRecord, recipe: JSON, seed: int, sample: Sequence[TrialFacts], final: Mapping[str, AuditTraining]
) -> Audit:
    """Compare every predictor with the final top1.

    Args:
        study: its record.
        recipe: of the final trainings.
        seed: of the final trainings.
        sample: trials of the study that went on to a final training.
        final: arch_hash -> that training, for each of them.
    """
    trials = [_audited(trial, final[trial.arch_hash]) for trial in sample]
    trials.sort(key=lambda trial: (-trial.final_top1, trial.trial_number))
    predictors = tuple(_predictors(trials, study.recipe["rungs"]))
    return Audit(study.name, recipe, seed, tuple(trials), predictors, tuple(_warnings(predictors)))


def _audited(trial: TrialFacts, final: AuditTraining) -> AuditedTrial:
    return AuditedTrial(
        trial_number=trial.trial_number,
        state=trial.state,
        layout=trial.layout,
        rungs=tuple(score.top1 for score in trial.rungs),
        param_count=trial.costs.param_count,
        macs=trial.costs.macs,
        final_top1=final.top1,
        zero_cost=final.zero_cost,
    )


def _predictors(trials: Sequence[AuditedTrial], rungs: Sequence[int]) -> Iterator[Predictor]:
    """The search's proxy is the score at the last rung, which COMPLETE trials alone have."""
    last = len(rungs) - 1
    for rung in (last, *range(last)):
        name = (
            f"search proxy, {rungs[last]} steps"
            if rung == last
            else f"rung {rung + 1} of {last + 1}, {rungs[rung]} steps"
        )
        scores = {trial.trial_number: trial.rungs[rung] for trial in trials if len(trial.rungs) > rung}
        yield _predictor(name, "search" if rung == last else "rung", trials, scores)
    yield _predictor("param_count", "cost", trials, {trial.trial_number: trial.param_count for trial in trials})
    yield _predictor("macs", "cost", trials, {trial.trial_number: trial.macs for trial in trials})
    for name in dict.fromkeys(itertools.chain.from_iterable(trial.zero_cost for trial in trials)):
        scores = {trial.trial_number: trial.zero_cost[name] for trial in trials if name in trial.zero_cost}
        yield _predictor(name, "zero_cost", trials, scores)
    yield _predictor("az_nas", "zero_cost", trials, _az_nas_scores(trials))


def _predictor(name: str, kind: Kind, trials: Sequence[AuditedTrial], scores: Mapping[int, float]) -> Predictor:
    pairs = np.array(
        [(scores[trial.trial_number], trial.final_top1) for trial in trials if trial.trial_number in scores],
        dtype=float,
    )
    return Predictor(name, kind, len(pairs), agreement(pairs[:, 0], pairs[:, 1]) if len(pairs) else None)


def _az_nas_scores(trials: Sequence[AuditedTrial]) -> dict[int, float]:
    """Trial number -> its score within the sample."""
    rated = [trial for trial in trials if set(AZ_NAS) <= trial.zero_cost.keys()]
    if not rated:
        return {}
    columns = [_zero_cost_scores(rated, name) for name in AZ_NAS]
    columns.append([float(trial.macs) for trial in rated])
    return {trial.trial_number: float(score) for trial, score in zip(rated, az_nas_scores(columns), strict=True)}


def _zero_cost_scores(trials: Sequence[AuditedTrial], name: str) -> list[float]:
    return [trial.zero_cost[name] for trial in trials]


def _warnings(predictors: Sequence[Predictor]) -> Iterator[str]:
    advice = {
        "search": "do not choose by the order of this search, but by a longer training of more of its architectures",
        "rung": "stopping there is near to chance; search with fewer --rungs, or a larger --keep",
    }
    unsure = []
    for predictor in (predictor for predictor in predictors if predictor.kind in advice):
        found = predictor.agreement
        if found is None:
            yield f"warning: {predictor.name}: no tau, {predictor.num} architectures have no two values; {MORE}"
        elif found.tau < BELIEVABLE_TAU:
            yield f"warning: {predictor.name}: tau {found.tau:.2f} is below {BELIEVABLE_TAU}: {advice[predictor.kind]}"
        elif found.low < BELIEVABLE_TAU:
            unsure.append(f"{predictor.name} ({found.low:.2f})")
    if unsure:
        yield f"note: intervals that reach below {BELIEVABLE_TAU}: {', '.join(unsure)}; to narrow them, {MORE}"


def audit_text(audit: Audit) -> str:
    """Two tables, the predictors and the architectures, and what to be warned of."""
    steps = audit.recipe["rungs"][-1]
    counts = Counter(trial.state for trial in audit.trials)
    states = ", ".join(f"{counts[state]} {state}" for state in COUNTED_STATES)
    head = (
        f"{audit.study}: {len(audit.trials)} architectures ({states}), each trained for {steps} steps with seed "
        f"{audit.seed}"
    )
    rows = [
        (_tau_text(predictor), _interval_text(predictor), str(predictor.num), predictor.name)
        for predictor in audit.predictors
    ]
    table = text_table(("tau", "95 % interval", "architectures", "predictor of the final top1"), rows, right=3)
    return "\n".join([head, table, *audit.warnings, "", _trials_text(audit.trials)])


def _tau_text(predictor: Predictor) -> str:
    return "none" if predictor.agreement is None else f"{predictor.agreement.tau:.2f}"


def _interval_text(predictor: Predictor) -> str:
    return "" if predictor.agreement is None else f"{predictor.agreement.low:.2f} to {predictor.agreement.high:.2f}"


def _trials_text(trials: Sequence[AuditedTrial]) -> str:
    rows = []
    for trial in trials:
        costs = cost_text("param_count", trial.param_count), cost_text("macs", trial.macs)
        searched = " ".join(f"{top1:.4f}" for top1 in trial.rungs)
        rows.append((str(trial.trial_number), f"{trial.final_top1:.4f}", searched, *costs, trial.state, trial.layout))
    return text_table(("trial", "final top1", "top1 in the search", "params", "macs", "", "layout"), rows, right=5)


def audit_json(audit: Audit) -> str:
    """The same as one JSON object, numbers in base units."""
    return json_text(asdict(audit))
