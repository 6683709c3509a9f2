"""Finalists: members of a study's front that are trained fully, with several seeds, so that none of them wins by luck.

First every finalist is tuned: which learning rate, weight decay and drop path, with one seed, scored on validation, the
worse ones stopped early. Then it is trained with fresh seeds at the best of them and scored on test. Nothing is chosen
after a look at the test images.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nas.errors import InvalidInputError
from nas.pareto.front import hypervolume
from nas.records import (
    JSON,
    FinalPurpose,
    FinalSplit,
    FinalTraining,
    Front,
    FrontMember,
    StudyRecord,
    TrialFacts,
    final_key,
)
from nas.text import duration_text, workers_text

MIN_SEEDS = 2
"""Final trainings of a finalist; fewer have no spread."""
FLOAT_BYTES = 4
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
    reference_point = front.reference_point
    chosen: list[FrontMember] = []

    def volume_with(member: FrontMember) -> float:
        return hypervolume(((one.top1, one.cost) for one in (*chosen, member)), reference_point)

    left = list(front.members)
    while left and len(chosen) < top:
        best = max(left, key=volume_with)
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
        duration_s = sum(_expected_s(trial, steps) for trial in self.finalists) * trainings / count / workers
        what = "the validation split, which chose them too: the data have no test images"
        if num_test:
            what = f"{num_test:,} test images"
        teacher = self.variants[0].recipe.get("teacher")
        taught = f", taught by {teacher}, whose time comes on top" if teacher else ""
        return (
            f"study {study.name}: {count} finalists, recipe of {steps:,} steps{taught}",
            (
                f"{len(self.variants)} settings of it for each, then {self.num_seeds} seeds at the best of them, "
                f"scored on {what}"
            ),
            (
                f"at most {trainings} trainings on {workers_text(workers)}: {duration_text(duration_s)} at the pace of "
                "the search, less what is stopped early"
            ),
        )

    def most_at_once(self, trainings: Sequence[FinalTraining]) -> int:
        """How many trainings may be under way at a time where these have ended; at least one."""
        known = {training.key for training in trainings}
        tunings = sum(job.key not in known for job in self.tuning_jobs())
        finals = len(self.finalists) * self.num_seeds
        if not tunings:
            finals = sum(job.key not in known for job in self.final_jobs(trainings))
        return max(1, tunings, finals)

    def num_bytes(self, workers: int) -> int:
        """Room on the disk for the weights of all final trainings, and for checkpoints of those under way.

        A checkpoint has weights, two moments of AdamW, and perhaps an average of the weights.
        """
        params = [trial.costs.param_count for trial in self.finalists]
        return FLOAT_BYTES * (self.num_seeds * sum(params) + 4 * workers * max(params))

    def tuning_jobs(self) -> list[FinalJob]:
        """Variant by variant, so that all finalists advance together."""
        jobs = []
        for variant in self.variants:
            jobs += [self._job(trial, variant, self.study.seed, "tuning") for trial in self.finalists]
        return jobs

    def final_jobs(self, trainings: Iterable[FinalTraining]) -> list[FinalJob]:
        """Those of every finalist that was tuned, seed by seed."""
        chosen = self.choices(trainings)
        tuned = [trial for trial in self.finalists if trial.trial_number in chosen]
        jobs = []
        for seed in self.final_seeds:
            jobs += [self._job(trial, chosen[trial.trial_number], seed, "final") for trial in tuned]
        return jobs

    def choices(self, trainings: Iterable[FinalTraining]) -> dict[int, Variant]:
        """Trial number -> the variant whose tuning ended with the highest validation top1; the earlier variant among
        equals."""
        place = {variant.recipe_hash: index for index, variant in enumerate(self.variants)}
        # top1 and the place's negative: of equal scores the earlier variant is the larger pair.
        best: dict[int, tuple[float, int]] = {}
        for training in trainings:
            ended = training.purpose == "tuning" and training.state == "COMPLETE" and training.seed == self.study.seed
            if ended and training.top1 is not None and training.recipe_hash in place:
                score = training.top1, -place[training.recipe_hash]
                best[training.trial_number] = max(score, best.get(training.trial_number, score))
        return {number: self.variants[-negative] for number, (_, negative) in best.items()}

    def _job(self, trial: TrialFacts, variant: Variant, seed: int, purpose: FinalPurpose) -> FinalJob:
        return FinalJob(trial.trial_number, trial.spec, variant.recipe, variant.recipe_hash, seed, purpose)


def _expected_s(trial: TrialFacts, steps: int) -> float:
    """Time of a training of so many steps at the pace of the search's own."""
    last = trial.rungs[-1]
    return last.duration_s / last.steps * steps
