"""The full training of one finalist, in parts that a later process can take up. Needs no Ray and no database.

A part ends at every rung and after whole epochs in between; then a checkpoint stands on the disk and the data begin
anew, so an interrupted training ends with the same weights as one that was not (on the CPU bit by bit, with an equal
number of threads).
"""

import hashlib
import io
from collections.abc import Generator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - what torch.load raises for a file that is none

import safetensors.torch
import torch

from nas.errors import NasError, first_line
from nas.files import write_whole
from nas.finalists.plan import FinalJob
from nas.protocols import Failed
from nas.records import JSON, RungScore
from workers.data.registry import load_test
from workers.evaluate import EvaluationContext, with_outcomes
from workers.memory import within_memory
from workers.recipe import Recipe
from workers.training.trainer import Trainer

CHECKPOINTS = 16
"""About as many in each training, besides those at the rungs; an epoch is the least between two."""
DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class FinalRung:
    """A rung that a finalist's training reached."""

    score: RungScore
    last: bool
    weights_sha256: str | None = None
    """SHA-256 of the kept weights, with the last rung of a job whose weights are kept."""
    test_top1: float | None = None
    """With the last rung, where the job asks for it and there are test images."""


def checkpoint_path(folder: Path, key: str) -> Path:
    return folder / f"{key}.checkpoint"


def weights_path(folder: Path, key: str) -> Path:
    return folder / f"{key}.safetensors"


def train_finalist(
    job: FinalJob, context: EvaluationContext, folder: Path
) -> Generator[FinalRung | Failed, bool, None]:
    """Train from the beginning, or from the checkpoint in the folder.

    Args:
        context: opened with the job's recipe, or one that differs in learning rate, weight decay or drop path only.
        folder: exists; holds the checkpoint, and the weights of a job whose weights are kept.

    Yields:
        FinalRung per rung, or Failed at any point; the rungs of earlier processes again, and those before a new start
        for lack of memory. The caller may stop asking at any time.

    Raises:
        RuntimeError: for a CUDA error; the process should not compute on that device again.
        InvalidInputError: if the spec of the job cannot be built, or a test image cannot be read.
        NasError: if the folder cannot be written.
    """
    return with_outcomes(
        within_memory(partial(_train, job, context, folder), context.device), job.trial_number, context
    )


def _train(
    job: FinalJob, context: EvaluationContext, folder: Path, micro_batches: int
) -> Generator[FinalRung, bool, None]:
    """Batches in more than one part begin anew; whole ones go on from the checkpoint, in as many parts as that was
    trained in."""
    recipe = Recipe.from_json(job.recipe)
    checkpoint = checkpoint_path(folder, job.key)
    if micro_batches > 1:
        checkpoint.unlink(missing_ok=True)
    with context.computing():
        torch.manual_seed(job.seed)
        model = context.build(job.spec, recipe.drop_path_rate)
    trainer = context.trainer(model, job.seed, recipe, micro_batches)
    scores, loss_sum = _restore(trainer, checkpoint, context.device)
    for score in scores[:-1] if trainer.steps == recipe.steps else scores:
        yield FinalRung(score, last=False)
    stops = [step for step in _stops(recipe, context.source.num_train) if step > trainer.steps]
    for step in stops:
        trainer.restart_data()
        begun = trainer.steps
        loss_sum += trainer.advance(step) * (step - begun)
        if step in recipe.rungs:
            since = scores[-1].steps if scores else 0
            scores.append(trainer.rung_score(len(scores), loss_sum / (step - since)))
            loss_sum = 0.0
        state = {**trainer.state_dict(), "scores": [asdict(score) for score in scores], "loss_sum": loss_sum}
        _write_checkpoint(checkpoint, state)
        if step in recipe.rungs and step < recipe.steps:
            yield FinalRung(scores[-1], last=False)
    weights_sha256 = None
    test_top1 = None
    if job.final:
        weights = safetensors.torch.save(trainer.weights())
        _write(weights_path(folder, job.key), weights)
        weights_sha256 = hashlib.sha256(weights).hexdigest()
        if context.source.num_test:
            test_top1 = trainer.score(load_test(context.source, recipe, context.device))
    yield FinalRung(scores[-1], last=True, weights_sha256=weights_sha256, test_top1=test_top1)


def _stops(recipe: Recipe, num_train: int) -> list[int]:
    """Steps at which a part of the training ends, ascending: the rungs, and whole epochs in between."""
    epoch = max(1, num_train // min(recipe.batch_size, num_train))
    every = epoch * max(1, round(recipe.steps / epoch / CHECKPOINTS))
    return sorted({*recipe.rungs, *range(every, recipe.steps, every)})


def _write_checkpoint(path: Path, state: JSON) -> None:
    """The state behind the SHA-256 of its bytes, which proves it when it is read."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    _write(path, hashlib.sha256(content).digest() + content)


def _read_checkpoint(path: Path, device: torch.device) -> JSON:
    """Inverse of _write_checkpoint; raises ValueError for other bytes than were written."""
    content = path.read_bytes()
    saved = content[DIGEST_BYTES:]
    if hashlib.sha256(saved).digest() != content[:DIGEST_BYTES]:
        raise ValueError("its bytes are not those that were written")
    state: JSON = torch.load(io.BytesIO(saved), map_location=device, weights_only=True)
    return state


def _restore(trainer: Trainer, path: Path, device: torch.device) -> tuple[list[RungScore], float]:
    """Bring the trainer to its checkpoint, if there is one that can be read; returns the scores so far and the loss
    since the last one."""
    try:
        state = _read_checkpoint(path, device)
        trainer.load_state_dict(state)
        return [RungScore(**score) for score in state["scores"]], state["loss_sum"]
    except FileNotFoundError:
        return [], 0.0
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, UnpicklingError) as error:
        reason = first_line(error)
        raise NasError(
            f"the checkpoint {path} cannot be read ({reason}); remove it, and the training begins anew"
        ) from error


def _write(path: Path, content: bytes) -> None:
    """The file whole on the disk, or an error that says what to do."""
    try:
        write_whole(path, content, durable=True)
    except OSError as error:
        raise NasError(
            f"{path} cannot be written ({first_line(error)}); make room or give another --artifacts"
        ) from error
