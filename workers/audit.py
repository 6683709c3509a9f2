"""The final trainings of an audit, in processes of their own: no Ray, no database, no timing."""

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from multiprocessing.sharedctypes import Synchronized

import torch

from nas.analysis.audit import MIN_COUNT, Audit, audit, stratified_sample
from nas.analysis.audit_log import AuditLog, AuditTraining
from nas.errors import InvalidInputError, NasError, first_line
from nas.files import check_folder
from nas.protocols import Failed, Job, RungReached
from nas.records import StudyRecord, TrialFacts
from nas.text import duration_text
from search_spaces.network.backbone import HybridBackbone
from search_spaces.registry import building_module
from workers.data.registry import open_study_data, prepare_data
from workers.devices import device_as_recorded, device_of_process, fitting_processes
from workers.evaluate import EvaluationContext, evaluate
from workers.evaluation import EvaluationConfig
from workers.memory import is_out_of_memory
from workers.processes import environment, follow_parent
from workers.profile import input_shape
from workers.recipe import Recipe
from workers.training.recipes import audit_recipe
from workers.training.zero_cost import NUM_BATCHES, zero_cost_scores

SEED_DISTANCE = 1000
"""Distance between the seed of the search and that of the final trainings, which shall share no luck with it."""


@dataclass(kw_only=True, frozen=True, slots=True)
class AuditConfig:
    """What to train and how.

    Raises:
        InvalidInputError: for a value that cannot be used.
    """

    data: str | None = None
    """Where the data of the study lie; None for where they lay when it was created."""
    cache: str | None = None
    """Folder under which decoded images are kept, see EvaluationConfig."""
    count: int = 12
    """Architectures in the sample."""
    times: int | None = None
    """Length of the final training in those of the search; TIMES of workers/training/recipes.py if neither it nor a
    recipe is given."""
    recipe: str | None = None
    """Name or JSON file of the final recipe, instead of `times`."""
    seed: int | None = None
    """Seed of the final trainings; the search's plus SEED_DISTANCE by default."""
    workers: int | None = None
    """Trainings at a time; one per GPU of a search on GPUs, else one per core, by default."""

    def __post_init__(self) -> None:
        if self.count < MIN_COUNT:
            raise InvalidInputError(
                f"--count is {self.count}; expected at least {MIN_COUNT} architectures, fewer have no order to speak of"
            )
        if self.times is not None and self.recipe is not None:
            raise InvalidInputError(
                "--times and --recipe are both given; the final recipe is the search's made longer, or another one"
            )
        if self.times is not None and self.times < 1:
            raise InvalidInputError(
                f"--times is {self.times}; expected at least 1, the length of a training of the search"
            )
        if self.workers is not None and self.workers < 1:
            raise InvalidInputError(f"--workers is {self.workers}; expected at least 1")
        if self.seed is not None and not 0 <= self.seed < 2**31:
            raise InvalidInputError(f"--seed is {self.seed}; expected a whole number from 0 to {2**31 - 1}")

    def final_recipe(self, searched: Recipe, image_size: int) -> Recipe:
        """See workers.training.recipes.audit_recipe."""
        return audit_recipe(self.recipe, self.times, searched, image_size)

    def final_seed(self, searched: int) -> int:
        """Raises InvalidInputError for the search's own."""
        if self.seed == searched:
            raise InvalidInputError(
                f"--seed is {searched}, which the search had; give another one, or both share their luck"
            )
        return searched + SEED_DISTANCE if self.seed is None else self.seed


def audit_study(
    study: StudyRecord, facts: Sequence[TrialFacts], config: AuditConfig, log: AuditLog, say: Callable[[str], object]
) -> Audit:
    """Train what the log lacks of a sample, keep each training as it ends, and compare.

    Args:
        study: whose ranking is in question.
        facts: all its trials.
        log: where its final trainings are kept.
        say: takes lines about the progress.

    Raises:
        InvalidInputError: if the recipe or the data cannot be used, or the data are not those of the study.
        NasError: if the study has too few trials, too few trainings succeed, or a process is ended.
    """
    searched = Recipe.from_json(study.recipe)
    recipe = config.final_recipe(searched, _image_size(study, facts))
    seed = config.final_seed(study.seed)
    final = log.read(study.data_fingerprint, recipe.hash, seed)
    sample = stratified_sample(facts, config.count, seed, final.keys())
    if len(sample) < MIN_COUNT:
        raise _too_few(study, len(sample))
    device = device_as_recorded(study.device)
    missing = [trial for trial in sample if trial.arch_hash not in final]
    workers = max(1, min(fitting_processes(config.workers, device), len(missing)))
    if missing:
        check_folder(log.path.parent, "--artifacts")
    say(_plan(sample, missing, searched, recipe, seed, workers))
    evaluation = EvaluationConfig(
        data=_prepared(study, config, say) if missing else study.data_location,
        recipe=recipe,
        data_fingerprint=study.data_fingerprint,
        data_facts=study.data_facts,
        device=device,
        cache=config.cache,
        space_module=building_module(study, sample[0].spec),
    )
    with closing(train_all(evaluation, missing, seed, workers)) as trainings:
        for done, (trial, training) in enumerate(trainings, start=1):
            if isinstance(training, AuditTraining):
                log.append(training)
                final[trial.arch_hash] = training
            say(f"{done} of {len(missing)}: trial {trial.trial_number} {_result_text(trial, training)}")
    trained = [trial for trial in sample if trial.arch_hash in final]
    if len(trained) < MIN_COUNT:
        raise NasError(
            f"{len(trained)} of {len(sample)} final trainings succeeded; an audit needs {MIN_COUNT}: see the "
            "reasons above"
        )
    return audit(study, recipe.to_json(), seed, trained, final)


def _prepared(study: StudyRecord, config: AuditConfig, say: Callable[[str], object]) -> str:
    """What opens the data of the study, whose images are decoded already for the processes that train."""
    source = open_study_data(study, config.data, config.cache)
    prepare_data(source, config.cache, say)
    return source.text


def _image_size(study: StudyRecord, facts: Sequence[TrialFacts]) -> int:
    """Side of the data's images, pixels; taken from a trial, so that an audit that lacks nothing needs no data."""
    if not facts:
        raise _too_few(study, 0)
    return input_shape(facts[0].spec)[1]


def _too_few(study: StudyRecord, count: int) -> NasError:
    return NasError(
        f"study {study.name!r} has {count} trials that can be audited; an audit needs {MIN_COUNT}: search on"
    )


def _result_text(trial: TrialFacts, training: AuditTraining | str) -> str:
    if isinstance(training, str):
        return f"left out, its training failed: {training}"
    took = duration_text(training.duration_s)
    return f"top1 {training.top1:.4f}, in the search {trial.top1:.4f}, after {took}"


def _plan(
    sample: Sequence[TrialFacts],
    missing: Sequence[TrialFacts],
    searched: Recipe,
    recipe: Recipe,
    seed: int,
    workers: int,
) -> str:
    """What will be done, and about how long it takes by what the search took for each image."""
    per_step = sum(trial.rungs[-1].duration_s / trial.rungs[-1].steps for trial in missing)
    estimate_s = per_step * recipe.steps * recipe.batch_size / searched.batch_size / workers
    kept = len(sample) - len(missing)
    about = (
        f"{len(missing)} to train, {workers} at a time, about {duration_text(estimate_s)}"
        if missing
        else "nothing to train"
    )
    return (
        f"{len(sample)} architectures, {recipe.steps} steps of {recipe.batch_size} images, seed {seed}: {kept} trained "
        f"before, {about}"
    )


def train_all(
    config: EvaluationConfig, trials: Sequence[TrialFacts], seed: int, workers: int
) -> Generator[tuple[TrialFacts, AuditTraining | str], None, None]:
    """Each trial with its training, or with the reason why it failed, as they end. Closing the iterator ends what runs.

    Args:
        config: without a latency target; the processes share the GPUs if its device is one.
        seed: of the trainings; the training-free proxies see the trial's own network, as the search built it.

    Raises:
        InvalidInputError: if the data cannot be used.
        NasError: if a process is ended from outside.
    """
    context = multiprocessing.get_context("spawn")  # a fork would share the threads' locks, and cannot use CUDA
    others = set(multiprocessing.active_children())
    with environment():  # the shared value starts a process too
        pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(context.Value("i", 0),))
    try:
        with _signals_wait(), environment():
            orders = {pool.submit(_train, config, trial, seed): trial for trial in trials}
        for order in as_completed(orders):
            yield orders[order], _outcome(order)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
            process.join()


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Keyboard and terminal wait; what is started meanwhile never hears them, not even before it can ignore them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _outcome(order: "Future[AuditTraining | Failed]") -> AuditTraining | str:
    try:
        result = order.result()
    except BrokenProcessPool as error:
        raise NasError(
            "a process that trained was ended, perhaps for lack of memory; what is finished is kept, the same "
            "command with fewer --workers continues"
        ) from error
    except RuntimeError as error:  # of CUDA, for example
        return first_line(error)
    return result.reason if isinstance(result, Failed) else result


_place = 0
"""In a process of the pool: which one it is."""


def _begin(places: "Synchronized[int]") -> None:
    global _place
    follow_parent()
    with places.get_lock():
        _place = places.value
        places.value = places.value + 1


@lru_cache(maxsize=1)
def _context(config: EvaluationConfig) -> EvaluationContext:
    return EvaluationContext(replace(config, device=device_of_process(config.device, _place)))


def _train(config: EvaluationConfig, trial: TrialFacts, seed: int) -> AuditTraining | Failed:
    context = _context(config)
    scores = _zero_cost(context, trial)
    events = evaluate(Job(trial.trial_number, trial.spec, seed), context)
    event = next(events)
    events.close()
    if isinstance(event, Failed):
        return event
    assert isinstance(event, RungReached) and event.last, "a training with one rung and without timing has one score"
    return AuditTraining(
        arch_hash=trial.arch_hash,
        data_fingerprint=context.source.fingerprint,
        recipe_hash=config.recipe.hash,
        seed=seed,
        top1=event.score.top1,
        duration_s=event.score.duration_s,
        device=context.device_name,
        zero_cost=scores,
    )


def _zero_cost(context: EvaluationContext, trial: TrialFacts) -> dict[str, float]:
    """Empty for networks that are none of ours, whose stages the scores do not know; and where they need more memory
    than there is, of which the training may need less."""
    try:
        with context.computing():
            torch.manual_seed(trial.seed)
            model = context.build(trial.spec, 0.0).to(context.device)
            if not isinstance(model, HybridBackbone):
                return {}
            return dict(zero_cost_scores(model, list(islice(context.batches.train(trial.seed), NUM_BATCHES))))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return {}
