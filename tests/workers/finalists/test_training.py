"""Full trainings: taken up where they were, scored on test, their weights kept."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from nas.errors import NasError
from nas.finalists.plan import FinalJob
from nas.protocols import Failed
from search_spaces.build import build_model
from search_spaces.registry import make_space
from workers.data.registry import load_test
from workers.evaluate import EvaluationContext
from workers.evaluation import EvaluationConfig
from workers.finalists.training import FinalRung, _stops, checkpoint_path, train_finalist, weights_path
from workers.memory import FREE_SHARE
from workers.recipe import Recipe
from workers.training.trainer import Trainer

RECIPE = Recipe(rungs=(2, 4, 6), batch_size=32, learning_rate=5e-3, drop_path_rate=0.2, schedule="inverse_sqrt")


@pytest.fixture(scope="module")
def context() -> EvaluationContext:
    return EvaluationContext(EvaluationConfig(data="digits", recipe=RECIPE))


def job_of(purpose: str = "final", recipe: Recipe = RECIPE) -> FinalJob:
    space = make_space("conv_only", "nano", 32, 1, 10)
    spec = space.architecture(space.sample(np.random.default_rng(0))).to_spec()
    return FinalJob(3, spec, recipe.to_json(), recipe.hash, 5, "final" if purpose == "final" else "tuning")


def rungs(job: FinalJob, context: EvaluationContext, folder: Path, count: int | None = None) -> list[FinalRung]:
    """The first `count` of them; then the training is given up, as by a kill."""
    folder.mkdir(exist_ok=True)
    events = train_finalist(job, context, folder)
    found = [event for _, event in zip(range(99 if count is None else count), events, strict=False)]
    events.close()
    assert all(isinstance(event, FinalRung) for event in found)
    return [
        replace(event, score=replace(event.score, duration_s=0.0)) for event in found if isinstance(event, FinalRung)
    ]


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, ema_decay=0.9, mixup=0.8, cutmix=1.0)])
def test_an_interrupted_training_ends_like_one_that_was_not(
    recipe: Recipe, context: EvaluationContext, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    parts = tmp_path / "parts"
    job = job_of(recipe=recipe)
    expected = rungs(job, context, whole)
    assert [(event.score.rung, event.score.steps, event.last) for event in expected] == [
        (0, 2, False),
        (1, 4, False),
        (2, 6, True),
    ]
    for count in (1, 2):
        assert rungs(job, context, parts, count) == expected[:count]
    assert rungs(job, context, parts) == expected
    weights = weights_path(whole, job.key).read_bytes()
    assert weights_path(parts, job.key).read_bytes() == weights
    sums = [event.weights_sha256 for event in expected]
    assert sums == [None, None, hashlib.sha256(weights).hexdigest()]
    assert rungs(job, context, parts) == expected  # the kill came before the end was recorded


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, ema_decay=0.9)])
def test_the_test_score_is_that_of_the_kept_weights(recipe: Recipe, context: EvaluationContext, tmp_path: Path) -> None:
    job = job_of(recipe=recipe)
    last = rungs(job, context, tmp_path)[-1]
    model = build_model(job.spec)
    model.load_state_dict(safetensors.torch.load_file(weights_path(tmp_path, job.key)))
    with torch.inference_mode():
        hits = [
            model.eval()(images).argmax(1) == labels
            for images, labels in load_test(context.source, RECIPE, context.device)
        ]
    assert len(torch.cat(hits)) == context.source.num_test == 1024
    assert last.test_top1 == pytest.approx(float(torch.cat(hits).float().mean()), abs=2 / 1024)


def test_a_tuning_sees_no_test_image_and_keeps_no_weights(
    context: EvaluationContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.finalists.training.load_test", lambda *arguments: 1 / 0)
    last = rungs(job_of("tuning"), context, tmp_path)[-1]
    assert (last.last, last.weights_sha256, last.test_top1) == (True, None, None)
    assert list(tmp_path.glob("*.safetensors")) == []


def test_divergence_is_an_outcome(context: EvaluationContext, tmp_path: Path) -> None:
    job = job_of(
        recipe=replace(RECIPE, learning_rate=99.0, clip_grad_norm=1e9, schedule="one_cycle", warmup=0.0, rungs=(30,))
    )
    *_, event = train_finalist(job, context, tmp_path)
    assert isinstance(event, Failed)
    assert "non-finite" in event.reason and not event.retryable


def test_out_of_memory_is_tried_again_in_parts_and_goes_on_so_after_a_kill(
    context: EvaluationContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FREE_SHARE, "cpu", 0.0)
    forward = Trainer._forward
    job = job_of()

    def hungry(trainer: Trainer, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
        if network.training and len(images) > 16 and trainer.steps >= 3:
            torch.empty(10**15)
        return forward(trainer, network, images)

    monkeypatch.setattr(Trainer, "_forward", hungry)
    seen = rungs(job, context, tmp_path, 2)
    assert [(event.score.rung, event.score.micro_batches) for event in seen] == [(0, 1), (0, 2)]
    assert [(event.score.rung, event.score.micro_batches) for event in rungs(job, context, tmp_path)] == [
        (0, 2),
        (1, 2),
        (2, 2),
    ]


def test_a_checkpoint_that_is_none_is_named(context: EvaluationContext, tmp_path: Path) -> None:
    job = job_of()
    checkpoint_path(tmp_path, job.key).write_bytes(b"no checkpoint")
    with pytest.raises(
        NasError, match=r"trial-000003-.*checkpoint cannot be read.*remove it, and the training begins anew"
    ):
        next(train_finalist(job, context, tmp_path))


def test_a_checkpoint_with_an_altered_byte_is_refused(context: EvaluationContext, tmp_path: Path) -> None:
    job = job_of()
    rungs(job, context, tmp_path, 1)
    checkpoint = checkpoint_path(tmp_path, job.key)
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(NasError, match=r"cannot be read \(its bytes are not those that were written\); remove it"):
        next(train_finalist(job, context, tmp_path))


def test_a_folder_that_cannot_be_written_is_named(context: EvaluationContext, tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"missing/.*checkpoint cannot be written"):
        next(train_finalist(job_of(), context, tmp_path / "missing"))


def test_parts_end_at_rungs_and_after_whole_epochs() -> None:
    recipe = replace(RECIPE, rungs=(96, 192, 384, 768), batch_size=64)
    assert _stops(recipe, 4096) == [64, 96, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768]
    assert _stops(recipe, 10) == [
        *range(48, 769, 48)
    ]  # batches of 10 are epochs of one step; 48 of them between checkpoints
