"""Finalists: members of a study's front that are trained fully, with several seeds, so that none of them wins by luck.

First every finalist is tuned: which learning rate, weight decay and drop path, with one seed, scored on validation, the
worse ones stopped early. Then it is trained with fresh seeds at the best of them and scored on test. Nothing is chosen
after a look at the test images.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from scipy import stats

from nas.errors import InvalidInputError, NasError
from nas.pareto.front import hypervolume, non_dominated_mask
from nas.protocols import FinalsStore
from nas.records import (
    JSON,
    FinalFront,
    Finalist,
    FinalPurpose,
    FinalSplit,
    FinalTraining,
    Front,
    FrontMember,
    FullTraining,
    StudyRecord,
    TrialFacts,
    final_key,
)
from nas.text import duration_text, memory_text

DRAWS = 10_000
"""From the intervals, for the probabilities of being on the front."""
CONFIDENCE = 0.95
MIN_SEEDS = 2
"""Fewer have no spread."""
TUNED = ("learning_rate", "weight_decay", "drop_path_rate")
"""Fields of the recipe in which variants differ."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A recipe with one choice of learning rate, weight decay and drop path."""

    recipe: JSON
    recipe_hash: str


@dataclass(frozen=True, slots=True)
class FinalJob:
    """A full training to be done; plain values, so it crosses processes."""

    trial_number: int
    spec: JSON
    recipe: JSON
    recipe_hash: str
    seed: int
    purpose: FinalPurpose

    @property
    def final(self) -> bool:
        """Whether its weights are kept and scored on test."""
        return self.purpose == "final"

    @property
    def key(self) -> str:
        """See FinalTraining.key."""
        return final_key(self.trial_number, self.recipe_hash, self.seed)


Train = Callable[[Sequence[FinalJob], Sequence[FinalTraining], Callable[[FinalTraining], None]], None]
"""(jobs, trainings that have ended already, record): do the jobs and hand each to `record` when it ends.

Tunings of one trial compete: the worse ones may be stopped at a rung."""
Say = Callable[[str], None]


def choose_finalists(
    study: StudyRecord, front: Front | None, facts: Mapping[int, TrialFacts], top: int
) -> tuple[TrialFacts, ...]:
    """The `top` members that together dominate most, by ascending cost: each time the one that adds most hypervolume to
    those chosen.

    With as many members or fewer, all of them.

    Raises:
        InvalidInputError: if the study has no front yet.
    """
    if front is None or not front.members:
        raise InvalidInputError(f"study {study.name!r} has no front yet; let the search finish at least one trial")
    chosen: list[FrontMember] = []
    left = list(front.members)
    while left and len(chosen) < top:
        best = max(left, key=lambda m: hypervolume([(c.top1, c.cost) for c in (*chosen, m)], front.reference_point))
        chosen.append(best)
        left.remove(best)
    return tuple(facts[member.trial_number] for member in front.members if member in chosen)


@dataclass(frozen=True, slots=True)
class Finals:
    """What one finalization trains. Seeds follow the study's, so tuning and final trainings never share one."""

    study: StudyRecord
    finalists: tuple[TrialFacts, ...]
    variants: Sequence[Variant]
    """At least one; the first is the recipe itself."""
    num_seeds: int
    split: FinalSplit

    @property
    def final_seeds(self) -> tuple[int, ...]:
        return tuple(self.study.seed + 1 + index for index in range(self.num_seeds))

    def plan(self, num_test: int, workers: int) -> tuple[str, ...]:
        """What is about to be spent, for people."""
        study = self.study
        count = len(self.finalists)
        steps = self.variants[0].recipe["rungs"][-1]
        trainings = count * (len(self.variants) + self.num_seeds)
        time_text = duration_text(
            sum(_expected_s(trial, steps) for trial in self.finalists) * trainings / count / workers
        )
        what = (
            f"{num_test:,} test images"
            if num_test
            else "the validation split, which chose them too: the data have no test images"
        )
        teacher = self.variants[0].recipe.get("teacher")
        taught = f", taught by {teacher}, whose time comes on top" if teacher else ""
        return (
            f"study {study.name}: {count} finalists, recipe of {steps:,} steps{taught}",
            (
                f"{len(self.variants)} settings of it for each, then {self.num_seeds} seeds at the best of them, "
                f"scored on {what}"
            ),
            (
                f"at most {trainings} trainings on {workers} workers: {time_text} at the pace of the search, less what "
                "is stopped early"
            ),
        )

    def tuning_jobs(self) -> list[FinalJob]:
        """Variant by variant, so that all finalists advance together."""
        return [
            self._job(trial, variant, self.study.seed, "tuning")
            for variant in self.variants
            for trial in self.finalists
        ]

    def final_jobs(self, trainings: Iterable[FinalTraining]) -> list[FinalJob]:
        """Of every finalist that was tuned, seed by seed."""
        chosen = self.choices(trainings)
        return [
            self._job(trial, chosen[trial.trial_number], seed, "final")
            for seed in self.final_seeds
            for trial in self.finalists
            if trial.trial_number in chosen
        ]

    def choices(self, trainings: Iterable[FinalTraining]) -> dict[int, Variant]:
        """Trial number -> the variant whose tuning ended with the highest validation top1; the earlier variant among
        equals."""
        place = {variant.recipe_hash: index for index, variant in enumerate(self.variants)}
        best: dict[
            int, tuple[float, int]
        ] = {}  # top1 and the place's negative: of equal scores the earlier variant is the larger pair
        for training in trainings:
            ended = training.purpose == "tuning" and training.state == "COMPLETE" and training.seed == self.study.seed
            if ended and training.top1 is not None and training.recipe_hash in place:
                score = training.top1, -place[training.recipe_hash]
                best[training.trial_number] = max(score, best.get(training.trial_number, score))
        return {number: self.variants[-negative] for number, (_, negative) in best.items()}

    def _job(self, trial: TrialFacts, variant: Variant, seed: int, purpose: FinalPurpose) -> FinalJob:
        return FinalJob(trial.trial_number, trial.spec, variant.recipe, variant.recipe_hash, seed, purpose)


def run_finals(
    finals: Finals, store: FinalsStore, train: Train, say: Say, check_owner: Callable[[], None]
) -> FinalFront:
    """Do what is not recorded yet, then record and return the final front.

    Args:
        check_owner: raises NasError if the study is not ours any more.

    Raises:
        NasError: if the database fails, or the trainer, or no finalist has enough final trainings.
    """
    study = finals.study.name
    for purpose in ("tuning", "final"):
        recorded = store.final_trainings(study)
        wanted = finals.tuning_jobs() if purpose == "tuning" else finals.final_jobs(recorded)
        known = {training.key for training in recorded}
        jobs = [job for job in wanted if job.key not in known]
        count = len(wanted) - len(jobs)
        say(f"{purpose} trainings: {len(wanted)}" + (f", {count} of them done before" if count else ""))

        def record(training: FinalTraining) -> None:
            nonlocal count
            check_owner()
            store.record_final_training(study, training)
            count += 1
            say(f"{training.purpose} {count}/{len(wanted)}: {training_text(training)}")  # noqa: B023 - called within this pass

        if jobs:
            train(jobs, recorded, record)
    latest = store.final_front(study)
    front = final_front(finals, store.final_trainings(study), latest)
    if front is None:
        raise NasError(
            f"no finalist has {MIN_SEEDS} final trainings that ended, so there is no final front; the lines above "
            "say why"
        )
    if front != latest:
        store.record_final_front(study, front)
    return front


def training_text(training: FinalTraining) -> str:
    """One line about a training that ended."""
    recipe = training.recipe
    settings = ", ".join(f"{name.replace('_', ' ')} {recipe[name]:.3g}" for name in TUNED)
    head = f"trial {training.trial_number}, {settings}, seed {training.seed}"
    if training.state == "FAIL":
        return f"{head}: failed, {training.reason}"
    assert training.rungs, "a training that did not fail has scores"
    verb = "stopped" if training.state == "PRUNED" else "ended"
    test = "" if training.test_top1 is None else f", on test {training.test_top1:.4f}"
    last = training.rungs[-1]
    return f"{head}: {verb} after {last.steps:,} steps{memory_text(last.micro_batches)}, top1 {training.top1:.4f}{test}"


def final_front(finals: Finals, trainings: Iterable[FinalTraining], latest: FinalFront | None) -> FinalFront | None:
    """The final front that the trainings give.

    Args:
        trainings: all recorded ones of the study.
        latest: what is recorded; returned as it is where nothing has changed.

    Returns:
        None if no finalist has MIN_SEEDS final trainings.
    """
    trials = {trial.trial_number: trial for trial in finals.finalists}
    scored = _final_scores(finals, list(trainings))
    numbers = [number for number, scores in scored.items() if len(scores) >= MIN_SEEDS]
    if not numbers:
        return None
    chosen = finals.choices(trainings)
    objective = finals.study.objectives[1]
    means = np.array([np.mean(list(scored[number].values())) for number in numbers])
    errors = np.array([stats.sem(list(scored[number].values())) for number in numbers])
    degrees = np.array([len(scored[number]) - 1 for number in numbers])
    costs = np.array([cost_interval(trials[number], objective) for number in numbers])
    on_front = non_dominated_mask(np.stack([-means, costs[:, 0]], axis=1))
    probabilities = front_probabilities(means, errors, degrees, costs, finals.study.seed)
    reach = errors * stats.t.ppf((1 + CONFIDENCE) / 2, degrees)
    finalists = [
        Finalist(
            trial_number=number,
            arch_hash=trials[number].arch_hash,
            recipe_hash=chosen[number].recipe_hash,
            seeds=tuple(scored[number]),
            top1=float(means[i]),
            top1_std=float(np.std(list(scored[number].values()), ddof=1)),
            top1_low=float(max(0.0, means[i] - reach[i])),
            top1_high=float(min(1.0, means[i] + reach[i])),
            cost=float(costs[i, 0]),
            cost_low=float(costs[i, 1]),
            cost_high=float(costs[i, 2]),
            on_front=bool(on_front[i]),
            front_probability=float(probabilities[i]),
        )
        for i, number in enumerate(numbers)
    ]
    ordered = tuple(sorted(finalists, key=lambda f: (f.cost, f.top1, f.trial_number)))
    if latest is not None and (latest.split, latest.finalists) == (finals.split, ordered):
        return latest
    return FinalFront(1 if latest is None else latest.version + 1, datetime.now(UTC), finals.split, ordered)


def full_training(
    front: FinalFront | None, trainings: Iterable[FinalTraining], trial_number: int
) -> FullTraining | None:
    """What a final front says about a trial, with the training whose weights represent it; None if it is no
    finalist."""
    finalist = (
        next((finalist for finalist in front.finalists if finalist.trial_number == trial_number), None)
        if front
        else None
    )
    if front is None or finalist is None:
        return None
    same = trial_number, finalist.recipe_hash
    by_seed = {t.seed: t for t in trainings if (t.trial_number, t.recipe_hash) == same and t.purpose == "final"}
    own = [by_seed[seed] for seed in finalist.seeds]
    scores = tuple(float((t.test_top1 if front.split == "test" else t.top1) or 0.0) for t in own)
    return FullTraining(finalist, front.split, max(own, key=lambda training: training.top1 or 0.0), scores)


def final_front_faults(front: FinalFront, trainings: Sequence[FinalTraining]) -> list[str]:
    """Where a recorded final front differs from the trainings that it rests on; one line each."""
    scores = {
        (t.trial_number, t.recipe_hash, t.seed): t.test_top1 if front.split == "test" else t.top1
        for t in trainings
        if t.purpose == "final" and t.state == "COMPLETE"
    }
    faults = []
    for finalist in front.finalists:
        own = [scores.get((finalist.trial_number, finalist.recipe_hash, seed)) for seed in finalist.seeds]
        known = [score for score in own if score is not None]
        if len(known) < len(own) or not math.isclose(float(np.mean(known)), finalist.top1, rel_tol=1e-9):
            faults.append(
                f"final front {front.version}: trial {finalist.trial_number} differs from its recorded trainings"
            )
    return faults


def _final_scores(finals: Finals, trainings: Sequence[FinalTraining]) -> Mapping[int, dict[int, float]]:
    """Trial number -> seed -> top1 of its final trainings at the choice, on the split that counts."""
    chosen = finals.choices(trainings)
    found = defaultdict[int, dict[int, float]](dict)
    for training in sorted(trainings, key=lambda training: training.seed):
        variant = chosen.get(training.trial_number)
        wanted = training.purpose == "final" and training.state == "COMPLETE" and training.seed in finals.final_seeds
        score = training.test_top1 if finals.split == "test" else training.top1
        if wanted and variant is not None and training.recipe_hash == variant.recipe_hash and score is not None:
            found[training.trial_number][training.seed] = score
    return {trial.trial_number: found[trial.trial_number] for trial in finals.finalists}


def cost_interval(trial: TrialFacts, objective: str) -> tuple[float, float, float]:
    """(cost, low, high): the 95 % interval of a measured latency; what is counted has no width."""
    cost = trial.cost(objective)
    assert cost is not None, "members of a front have a cost"
    if objective == "latency_ms" and trial.latency is not None:
        return cost, trial.latency.ci_low_ms, trial.latency.ci_high_ms
    return cost, cost, cost


def front_probabilities(
    means: np.ndarray, errors: np.ndarray, degrees: np.ndarray, costs: np.ndarray, seed: int
) -> np.ndarray:
    """How often each finalist is on the front when top1 and cost are drawn anew.

    A top1 is drawn from Student's t distribution about the mean over the seeds, the same that gives its interval; a
    cost from a normal distribution of its logarithm whose central 95 % are as wide as its interval. All draws are
    independent.

    Args:
        means, errors, degrees: (num_finalists,) mean, standard error of the mean, and degrees of freedom of top1.
        costs: (num_finalists, 3) cost, low and high, > 0.
        seed: of the draws.

    Returns:
        (num_finalists,) in [0, 1].
    """
    rng = np.random.default_rng(seed)
    shape = (DRAWS, len(means))
    top1 = means + errors * rng.standard_t(np.broadcast_to(degrees, shape))
    sigma = np.log(costs[:, 2] / costs[:, 1]) / (2 * stats.norm.ppf((1 + CONFIDENCE) / 2))
    cost = costs[:, 0] * np.exp(sigma * rng.standard_normal(shape))
    shares = []
    for own_top1, own_cost in zip(top1.T[:, :, None], cost.T[:, :, None], strict=True):
        no_worse = (top1 >= own_top1) & (cost <= own_cost)
        better = (top1 > own_top1) | (cost < own_cost)
        shares.append(1 - (no_worse & better).any(axis=1).mean())
    return np.array(shares)


def _expected_s(trial: TrialFacts, steps: int) -> float:
    """Time of a training of so many steps at the pace of the search's own."""
    last = trial.rungs[-1]
    return last.duration_s / last.steps * steps
