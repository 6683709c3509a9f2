"""Evaluate one architecture: latency first, then one score per rung. Needs torch and timm; knows neither Ray nor Optuna
(DESIGN 2.16).

config = EvaluationConfig(data="digits", recipe=RECIPES["nano"], latency_target="cpu:threads=1,batch=1")
context = EvaluationContext(config)
events = evaluate(Job(trial_number=0, spec=spec, seed=0), context)
event = next(events)                    # LatencyMeasured
event = events.send(True)               # RungReached; send(False) would stop it
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from torch import nn

from nas.errors import InvalidInputError, first_line
from nas.protocols import Calibration, Event, Failed, Finished, Job, LatencyMeasured, NetworkScored, RungReached
from nas.records import JSON, Latency
from search_spaces.build import builder
from workers.data.registry import load_data, open_same_data
from workers.devices import open_device
from workers.evaluation import EvaluationConfig
from workers.latency.device_lock import DeviceLock, device_identity
from workers.latency.measure import measure
from workers.latency.target import LatencyTarget
from workers.memory import free_memory, is_otherwise_free, is_out_of_memory, within_memory
from workers.recipe import Recipe
from workers.training.distillation import Teacher, load_teacher
from workers.training.scoring import network_scores
from workers.training.trainer import NonFiniteLossError, Trainer
from workers.training.zero_cost import NUM_BATCHES

E = TypeVar("E")
CALIBRATION_STEPS = 2, 6
"""Steps trained before and within the timed part of a calibration."""


class EvaluationContext:
    """What a worker opens once and uses for many jobs: data, device, locks. Belongs to one thread.

    Args:
        worker: name of the worker in events.

    Raises:
        InvalidInputError: if data, device, target or the module of the space cannot be used, or the data are not those
            of the fingerprint.
    """

    def __init__(self, config: EvaluationConfig, worker: str = "local") -> None:
        torch.set_num_threads(config.threads)
        self.config = config
        self.worker = worker
        self.build = builder(config.space_module)
        """What builds the network of a job."""
        self.device = open_device(config.device)
        self.target = LatencyTarget.parse(config.latency_target) if config.latency_target else None
        self.other_targets = [LatencyTarget.parse(text) for text in config.other_targets]
        self.source = open_same_data(config.data, config.data_fingerprint, config.data_facts, config.cache)
        self.batches = load_data(self.source, config.recipe, self.device, config.cache)
        self._teacher = self._open_teacher()
        folder = Path(config.lock_folder) if config.lock_folder else None
        devices = {self.device, *(target.device for target in self.targets)}
        identities = sorted({device_identity(device) for device in devices})
        self._locks = {identity: DeviceLock(identity, folder) for identity in identities}

    def _open_teacher(self) -> Teacher | None:
        teacher = self.config.teacher
        expected = self.config.recipe.teacher
        if teacher is None:
            return None
        opened = load_teacher(teacher, self.source, self.config.recipe.training_size(self.source.image_size))
        if opened.identity != expected:
            raise InvalidInputError(
                f"the teacher {teacher!r} is {opened.identity} on this host, expected {expected}; copy the same files"
            )
        return opened.to(self.device).to(memory_format=torch.channels_last)

    @property
    def device_name(self) -> str:
        """For people: "cpu", or the GPU's product name."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    @property
    def targets(self) -> Sequence[LatencyTarget]:
        """All of them, the objective's first."""
        return [*([self.target] if self.target else []), *self.other_targets]

    def timed(self, model: nn.Module, target: LatencyTarget) -> Latency:
        """The latency of the model on one of the targets, for images of the data."""
        return measure(model, target, self.source.input_shape, self._locks[device_identity(target.device)])

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Hold all locks shared. Work for a GPU keeps a core busy too, so it gives way to timing on either device."""
        with ExitStack() as held:
            for lock in self._locks.values():
                held.enter_context(lock.shared())
            yield

    def trainer(self, model: nn.Module, seed: int, recipe: Recipe | None = None, micro_batches: int = 1) -> Trainer:
        """For the study's recipe, if no other is given."""
        return Trainer(
            model,
            self.batches,
            recipe or self.config.recipe,
            num_classes=self.source.num_classes,
            teacher=self._teacher,
            micro_batches=micro_batches,
            seed=seed,
            device=self.device,
            computing=self.computing,
        )


def evaluate(job: Job, context: EvaluationContext) -> Generator[Event, bool, None]:
    """Time and train the architecture of `job`.

    Yields:
        LatencyMeasured (if the context has a target), RungReached per rung, then Finished; or Failed at any point. The
        caller answers the first two with send(True) to go on or send(False) to stop, which gives Finished without
        weights. The last RungReached needs no answer: next() gives Finished with the weights. A job that asks for a
        timing only gives LatencyMeasured and Finished, one that asks for training-free scores NetworkScored.

    Raises:
        RuntimeError: for a CUDA error; the process should not compute on that device again.
        InvalidInputError: if the spec of the job cannot be built.
    """
    yield from with_outcomes(_evaluate(job, context), job.trial_number, context)


def with_outcomes(
    work: Generator[E, bool, None], number: int, context: EvaluationContext
) -> Generator[E | Failed, bool, None]:
    """The events of `work`; where it diverges or memory is used up, Failed ends them.

    Raises:
        RuntimeError: for a CUDA error; the process should not compute on that device again.
    """
    worker = context.worker
    try:
        yield from work
        return
    except NonFiniteLossError as error:
        failed = Failed(number, worker, str(error), retryable=False)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        failed = Failed(number, worker, f"out of memory: {first_line(error, 'Python')}", retryable=False)
    finally:
        free_memory(context.device)
    # Only here the traceback, and with it the model, is gone, and what is still missing belongs to others.
    if failed.reason.startswith("out of memory") and not is_otherwise_free(context.device):
        failed = replace(failed, reason=f"{failed.reason} (others use the device)", retryable=True)
    yield failed


def _evaluate(job: Job, context: EvaluationContext) -> Generator[Event, bool, None]:
    number = job.trial_number
    worker = context.worker
    stopped = Finished(number, worker, context.device_name, weights=None)
    if job.proxies:
        yield NetworkScored(number, worker, *_scored(job, context))
        return
    if job.timing is not None:
        yield LatencyMeasured(number, worker, context.timed(_initial(job, context), context.targets[job.timing]))
        yield stopped
        return
    if context.target and not (
        yield LatencyMeasured(number, worker, context.timed(_initial(job, context), context.target))
    ):
        yield stopped
        return
    others = tuple(context.timed(_initial(job, context), target) for target in context.other_targets)
    weights = yield from within_memory(partial(_train, job, context, set()), context.device)
    yield replace(stopped, weights=weights, other_latencies=others)


def _initial(job: Job, context: EvaluationContext) -> nn.Module:
    """The network as its training begins."""
    with context.computing():
        torch.manual_seed(job.seed)
        return context.build(job.spec, context.config.recipe.drop_path_rate)


def _scored(job: Job, context: EvaluationContext) -> tuple[Mapping[str, float], Mapping[str, str]]:
    """Training-free scores of the network as its training begins, and why others are missing."""
    with context.computing():
        torch.manual_seed(job.seed)
        model = context.build(job.spec, 0.0).to(context.device)
        batches = list(islice(context.batches.train(job.seed), NUM_BATCHES))
    return network_scores(model, batches, job.proxies, context.computing)


def _train(
    job: Job, context: EvaluationContext, reported: set[int], micro_batches: int
) -> Generator[RungReached, bool, bytes | None]:
    """Events of the rungs that are not in `reported`, which is added to; returns the weights, or None if told to
    stop."""
    trainer = context.trainer(_initial(job, context), job.seed, micro_batches=micro_batches)
    for score in trainer.run():
        last = score.steps == context.config.recipe.steps
        if score.rung not in reported:
            reported.add(score.rung)
            proceed = yield RungReached(job.trial_number, context.worker, score, last)
            if not last and not proceed:
                return None
    return safetensors.torch.save(trainer.weights())


def calibrate(slowest: JSON, typical: JSON, context: EvaluationContext) -> Calibration:
    """Time the spec `slowest`, and estimate the evaluation of the spec `typical` from a few steps of it.

    Raises:
        RuntimeError: what torch raises if one of them does not run on this device.
    """
    recipe = context.config.recipe
    reference_latency = None
    timing_s = 0.0
    if context.target:
        start = time.monotonic()
        # A timing takes about as long for every network, so this one also tells what those of a trial take.
        reference_latency = context.timed(context.build(slowest, 0.0), context.target)
        for target in context.other_targets:
            context.timed(context.build(typical, 0.0), target)
        timing_s = time.monotonic() - start
    before, timed = CALIBRATION_STEPS
    # A schedule of its own, because the recipe may be shorter than what is trained here.
    trainer = context.trainer(
        context.build(typical, recipe.drop_path_rate), seed=0, recipe=replace(recipe, rungs=(before + timed,))
    )
    trainer.advance(before)
    started_s = trainer.busy_s
    trainer.advance(before + timed)
    step_s = (trainer.busy_s - started_s) / timed
    trainer.validate(max_batches=1)
    started_s = trainer.busy_s
    trainer.validate(max_batches=2)
    validation_s = (
        (trainer.busy_s - started_s) / min(2, context.batches.num_validation) * context.batches.num_validation
    )
    del trainer
    free_memory(context.device)
    evaluation_s = timing_s + recipe.steps * step_s + len(recipe.rungs) * validation_s
    return Calibration(reference_latency, evaluation_s, context.source.fingerprint, context.source.facts)
