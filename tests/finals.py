"""A finalization of the sample study and a trainer that needs no time, for tests of finalists."""

from collections.abc import Callable, Sequence

from nas.finalists.plan import FinalJob, Finals, Variant
from nas.finalists.run import run_finals
from nas.records import FinalFront, FinalTraining, RungScore, facts_by_number
from tests.doubles import MemoryFinals
from tests.samples import TRIALS, study_record

FACTS = facts_by_number(TRIALS)


VARIANTS = tuple(
    Variant({"rungs": [4, 8], "learning_rate": rate, "weight_decay": 0.05, "drop_path_rate": 0.1}, letter * 64)
    for letter, rate in (("a", 1e-3), ("b", 2e-3))
)


STUDY = study_record()


def finals(num_seeds: int = 2, *, numbers: Sequence[int] = (0, 2, 3), variants: Sequence[Variant] = VARIANTS) -> Finals:
    return Finals(STUDY, tuple(FACTS[number] for number in numbers), variants, num_seeds, "test")


def ended(job: FinalJob, top1: float) -> FinalTraining:
    test = top1 - 0.1 if job.final else None
    rungs = (RungScore(0, 8, top1, 1.0, 2.0),)
    return FinalTraining(
        job.trial_number, job.recipe, job.recipe_hash, job.seed, job.purpose, "COMPLETE", rungs=rungs, test_top1=test
    )


def score_of(job: FinalJob) -> float:
    """Variant b is better for trial 2 only; seeds differ a little."""
    better = (job.recipe_hash[0] == "b") == (job.trial_number == 2)
    return 0.5 + 0.1 * job.trial_number + 0.05 * better + 0.01 * (job.seed % 3)


class Trainer:
    """Trains at once and is killed after some trainings."""

    def __init__(self, killed_after: int | None = None) -> None:
        self.done: list[str] = []
        self.ended: list[str] = []
        """Keys of what it was told to have ended before, over all calls."""
        self.killed_after = killed_after

    def __call__(
        self, jobs: Sequence[FinalJob], ended_: Sequence[FinalTraining], record: Callable[[FinalTraining], None]
    ) -> None:
        self.ended += [training.key for training in ended_]
        for job in jobs:
            if len(self.done) == self.killed_after:
                raise KeyboardInterrupt
            self.done.append(job.key)
            record(ended(job, score_of(job)))


def run(store: MemoryFinals, trainer: Trainer, wanted: Finals) -> FinalFront:
    return run_finals(wanted, store, trainer, lambda text: None, lambda: None)
