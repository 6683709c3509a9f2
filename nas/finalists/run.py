"""Doing what a finalization has planned, going on from what is recorded."""

from collections.abc import Callable, Sequence

from nas.errors import NasError
from nas.finalists.front import final_front
from nas.finalists.plan import MIN_SEEDS, TUNED, FinalJob, Finals
from nas.protocols import FinalsStore
from nas.records import FinalFront, FinalPurpose, FinalTraining
from nas.text import memory_text

Train = Callable[[Sequence[FinalJob], Sequence[FinalTraining], Callable[[FinalTraining], None]], None]
"""(jobs, trainings wanted with them that ended in earlier runs, record): do the jobs and hand each to `record` when it
ends.

Tunings of one trial compete: the worse ones may be stopped at a rung."""


Say = Callable[[str], None]


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
    _do("tuning", finals.tuning_jobs(), study, store, train, say, check_owner)
    _do("final", finals.final_jobs(store.final_trainings(study)), study, store, train, say, check_owner)
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


def _do(
    purpose: FinalPurpose,
    wanted: Sequence[FinalJob],
    study: str,
    store: FinalsStore,
    train: Train,
    say: Say,
    check_owner: Callable[[], None],
) -> None:
    """Do the wanted jobs that are not recorded yet, and record each when it ends."""
    keys = {job.key for job in wanted}
    # Trainings by another recipe or teacher are no rivals: where theirs are better, all of these would be stopped.
    ended = [training for training in store.final_trainings(study) if training.key in keys]
    known = {training.key for training in ended}
    jobs = [job for job in wanted if job.key not in known]
    count = len(wanted) - len(jobs)
    say(f"{purpose} trainings: {len(wanted)}" + (f", {count} of them done before" if count else ""))

    def record(training: FinalTraining) -> None:
        nonlocal count
        check_owner()
        store.record_final_training(study, training)
        count += 1
        say(f"{training.purpose} {count}/{len(wanted)}: {training_text(training)}")

    if jobs:
        train(jobs, ended, record)


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
