"""The evaluation generator, on small networks of the real space."""

import json
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from nas.errors import InvalidInputError
from nas.protocols import Event, Failed, Finished, Job, LatencyMeasured, NetworkScored, RungReached
from nas.records import JSON
from search_spaces.build import build_model
from search_spaces.registry import find_own, make_space
from search_spaces.space_module import SpaceModule
from tests.own_spaces import write_own_networks
from workers import evaluate as module
from workers.data.registry import load_data, open_data
from workers.evaluate import (
    EvaluationConfig,
    EvaluationContext,
    _initial,
    calibrate,
    evaluate,
)
from workers.memory import FREE_SHARE
from workers.recipe import Recipe

RECIPE = Recipe(rungs=(2, 4), batch_size=32, learning_rate=5e-3)
SPACE = make_space("hybrid_layout", "nano", 32, 1, 10)


@pytest.fixture(scope="module")
def spec() -> JSON:
    return SPACE.architecture(SPACE.sample(np.random.default_rng(1))).to_spec()


def make_config(tmp_path: Path, recipe: Recipe = RECIPE, target: str | None = None) -> EvaluationConfig:
    return EvaluationConfig(data="digits", recipe=recipe, latency_target=target, lock_folder=str(tmp_path / "locks"))


@pytest.fixture
def context(tmp_path: Path) -> EvaluationContext:
    return EvaluationContext(make_config(tmp_path), worker="w0")


@pytest.fixture
def timing_context(tmp_path: Path) -> EvaluationContext:
    return EvaluationContext(make_config(tmp_path, target="cpu:threads=1,batch=1"), worker="w0")


def drive(events: Generator[Event, bool, None]) -> list[Event]:
    """All events, every question answered with yes."""
    seen = [next(events)]
    while not isinstance(seen[-1], Finished | Failed):
        seen.append(events.send(True))
    with pytest.raises(StopIteration):
        next(events)
    return seen


def test_latency_comes_first_then_the_rungs_then_the_weights(timing_context: EvaluationContext, spec: JSON) -> None:
    latency, first, last, finished = drive(evaluate(Job(7, spec, seed=0), timing_context))
    assert isinstance(latency, LatencyMeasured)
    assert 0 < latency.latency.ci_low_ms <= latency.latency.median_ms <= latency.latency.ci_high_ms
    assert isinstance(first, RungReached)
    assert isinstance(last, RungReached)
    assert (first.score.steps, first.last, last.score.steps, last.last) == (2, False, 4, True)
    assert isinstance(finished, Finished)
    assert {(event.trial_number, event.worker) for event in (latency, first, last, finished)} == {(7, "w0")}
    assert finished.device == "cpu"


def test_further_targets_are_timed_for_what_goes_on(tmp_path: Path, spec: JSON) -> None:
    others = ("cpu:threads=1,batch=2", "cpu:threads=1,batch=3")
    config = replace(make_config(tmp_path, target="cpu:threads=1,batch=1"), other_targets=others)
    context = EvaluationContext(EvaluationConfig.from_json(config.to_json()))
    *_, finished = drive(evaluate(Job(0, spec, seed=0), context))
    assert isinstance(finished, Finished)
    assert [latency.target["batch"] for latency in finished.other_latencies] == [2, 3]
    events = evaluate(Job(0, spec, seed=0), context)
    next(events)
    assert events.send(False).other_latencies == (), "a candidate over the limit costs no more timing"
    events = evaluate(Job(0, spec, seed=0), context)
    next(events)
    events.send(True)
    assert len(events.send(False).other_latencies) == 2, "a candidate that was stopped at a rung keeps them"


def test_a_job_that_is_only_timed_trains_nothing(tmp_path: Path, spec: JSON, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Trainer, "advance", None)
    config = replace(make_config(tmp_path, target="cpu:threads=1,batch=1"), other_targets=("cpu:threads=1,batch=2",))
    for place, batch in ((0, 1), (1, 2)):
        timed, finished = drive(evaluate(Job(0, spec, seed=0, timing=place), EvaluationContext(config)))
        assert isinstance(timed, LatencyMeasured) and timed.latency.target["batch"] == batch
        assert finished == Finished(0, "local", "cpu", weights=None)


def test_networks_of_a_users_own_are_built_by_the_text_of_their_module(tmp_path: Path) -> None:
    file = write_own_networks(tmp_path)
    own = make_space(str(file), "nano", 32, 1, 10).largest().to_spec()
    config = replace(make_config(tmp_path, target="cpu:threads=1,batch=1"), space_module=find_own(str(file)))
    file.unlink()
    travelled = EvaluationConfig.from_json(config.to_json())
    assert travelled == config and hash(travelled) == hash(config)
    assert json.loads(json.dumps(config.to_json()))["space_module"]["origin"] == str(file)
    context = EvaluationContext(travelled)
    assert calibrate(own, own, context).evaluation_s > 0
    *_, finished = drive(evaluate(Job(0, own, seed=0), context))
    assert isinstance(finished, Finished) and finished.weights is not None
    assert set(safetensors.torch.load(finished.weights)) == {"1.weight", "1.bias", "3.weight", "3.bias"}


def test_a_worker_says_which_module_it_cannot_load(tmp_path: Path) -> None:
    config = replace(make_config(tmp_path), space_module=SpaceModule("/there/mine.py", "import not_installed_here"))
    with pytest.raises(InvalidInputError, match=r"the space of /there/mine\.py raises ModuleNotFoundError in line 1"):
        EvaluationContext(config)


def test_without_a_target_nothing_is_timed(context: EvaluationContext, spec: JSON) -> None:
    assert [type(event) for event in drive(evaluate(Job(0, spec, seed=0), context))] == [
        RungReached,
        RungReached,
        Finished,
    ]


def test_after_the_last_rung_the_weights_follow_without_an_answer(context: EvaluationContext, spec: JSON) -> None:
    events = evaluate(Job(0, spec, seed=0), context)
    next(events)
    assert isinstance(events.send(True), RungReached)
    finished = next(events)
    assert isinstance(finished, Finished)
    assert finished.weights is not None


def test_stop_after_the_latency_trains_nothing(
    timing_context: EvaluationContext, spec: JSON, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.Trainer, "advance", None)
    events = evaluate(Job(0, spec, seed=0), timing_context)
    next(events)
    assert events.send(False) == Finished(0, "w0", "cpu", weights=None)
    with pytest.raises(StopIteration):
        next(events)


def test_stop_after_a_rung_ends_the_training(context: EvaluationContext, spec: JSON) -> None:
    events = evaluate(Job(0, spec, seed=0), context)
    assert isinstance(next(events), RungReached)
    assert events.send(False) == Finished(0, "w0", "cpu", weights=None)
    with pytest.raises(StopIteration):
        next(events)


def test_the_weights_load_into_a_new_model_with_equal_logits(
    context: EvaluationContext, spec: JSON, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[nn.Module] = []
    monkeypatch.setattr(context, "build", lambda *given: trained.append(build_model(*given)) or trained[-1])
    finished = drive(evaluate(Job(0, spec, seed=0), context))[-1]
    assert isinstance(finished, Finished)
    assert finished.weights is not None
    fresh = build_model(spec)
    fresh.load_state_dict(safetensors.torch.load(finished.weights))
    images = torch.randn(4, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(fresh.eval()(images), trained[0].eval()(images), rtol=0, atol=1e-6)


def test_equal_jobs_give_identical_scores_and_weights_timed_or_not(
    context: EvaluationContext, timing_context: EvaluationContext, spec: JSON
) -> None:
    runs = [drive(evaluate(Job(0, spec, seed=3), each)) for each in (context, context, timing_context)]
    scores = [[(event.score.top1, event.score.loss) for event in run if isinstance(event, RungReached)] for run in runs]
    weights = [run[-1].weights for run in runs if isinstance(run[-1], Finished)]
    assert scores[0] == scores[1] == scores[2]
    assert weights[0] == weights[1] == weights[2]


def test_training_images_may_be_smaller_than_those_that_are_scored(tmp_path: Path) -> None:
    seen: list[tuple[bool, int]] = []
    context = EvaluationContext(make_config(tmp_path, replace(RECIPE, rungs=(2,), image_size=24)))
    for number in range(3):
        job = Job(number, SPACE.architecture(SPACE.sample(np.random.default_rng(number))).to_spec(), seed=0)
        model = _initial(job, context)
        model.register_forward_pre_hook(lambda module, inputs: seen.append((module.training, inputs[0].shape[-1])))
        (score,) = context.trainer(model, seed=0).run()
        assert 0 <= score.top1 <= 1
    assert set(seen) == {(True, 24), (False, 32)}
    with pytest.raises(InvalidInputError, match="the recipe trains on images of 40 pixels, the data have 32"):
        EvaluationContext(make_config(tmp_path, replace(RECIPE, image_size=40)))


@pytest.mark.parametrize("min_crop_area", [1.0, 0.5])
def test_smaller_training_images_show_the_same(min_crop_area: float) -> None:
    source = open_data("digits")

    def first(image_size: int) -> torch.Tensor:
        recipe = replace(RECIPE, image_size=image_size, min_crop_area=min_crop_area)
        return next(load_data(source, recipe, torch.device("cpu")).train(0))[0]

    large = first(0)
    small = first(16)
    assert small.shape == (32, 1, 16, 16)
    pooled = nn.functional.avg_pool2d(large, 2)
    assert torch.corrcoef(torch.stack([pooled.flatten(), small.flatten()]))[0, 1] > 0.9


def test_a_non_finite_loss_is_the_architectures_own_failure(
    context: EvaluationContext, spec: JSON, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*given: object) -> nn.Module:
        model = build_model(spec)
        with torch.no_grad():
            next(model.parameters()).fill_(float("inf"))
        return model

    monkeypatch.setattr(context, "build", poisoned)
    (failed,) = drive(evaluate(Job(5, spec, seed=0), context))
    assert isinstance(failed, Failed)
    assert failed.trial_number == 5
    assert failed.reason.startswith("non-finite loss within the first")
    assert not failed.retryable


class Greedy(nn.Module):
    """Asks for a petabyte in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.empty(10**15) * self.weight


@pytest.mark.parametrize("free", [True, False])
def test_out_of_memory_is_retried_only_where_others_use_the_device(
    context: EvaluationContext, spec: JSON, monkeypatch: pytest.MonkeyPatch, free: bool
) -> None:
    monkeypatch.setattr(context, "build", lambda *given: Greedy())
    monkeypatch.setitem(FREE_SHARE, "cpu", 0.0 if free else 2.0)
    (failed,) = drive(evaluate(Job(0, spec, seed=0), context))
    assert isinstance(failed, Failed)
    assert failed.reason.startswith("out of memory: ")
    assert failed.retryable is not free
    assert ("others use the device" in failed.reason) is not free
    assert ("with each batch in 2 parts too" in failed.reason) is free


class Hungry(nn.Module):
    """A network that asks for a petabyte when it trains on more than 16 images at once, after some good passes."""

    def __init__(self, network: nn.Module, good: int) -> None:
        super().__init__()
        self.network = network
        self.good = good

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > 16:
            self.good -= 1
            torch.empty(1 if self.good >= 0 else 10**15)
        logits: torch.Tensor = self.network(images)
        return logits


@pytest.mark.parametrize("good", [0, 3])
def test_out_of_memory_is_tried_again_with_smaller_parts_of_each_batch(
    context: EvaluationContext, spec: JSON, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    monkeypatch.setitem(FREE_SHARE, "cpu", 0.0)
    monkeypatch.setattr(context, "build", lambda *given: Hungry(build_model(*given), good))
    seen = drive(evaluate(Job(0, spec, seed=0), context))
    rungs = [event.score for event in seen if isinstance(event, RungReached)]
    assert [(score.rung, score.micro_batches) for score in rungs] == [(0, 1 if good else 2), (1, 2)], (
        "no rung is reported twice"
    )
    assert isinstance(seen[-1], Finished) and seen[-1].weights
    trainer = context.trainer(_initial(Job(0, spec, seed=0), context), seed=0, micro_batches=2)
    losses = [score.loss for score in trainer.run()]
    assert rungs[1].loss == losses[1], "it began anew, from the same seed"


def test_other_errors_of_torch_are_not_swallowed(
    context: EvaluationContext, spec: JSON, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, to_step: int) -> float:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(module.Trainer, "advance", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        next(evaluate(Job(0, spec, seed=0), context))


def test_a_spec_that_cannot_be_built_is_a_callers_error(context: EvaluationContext) -> None:
    with pytest.raises(InvalidInputError):
        next(evaluate(Job(0, {"no": "spec"}, seed=0), context))


def test_calibration_times_the_slowest_and_estimates_the_typical(timing_context: EvaluationContext, spec: JSON) -> None:
    calibration = calibrate(SPACE.largest().to_spec(), spec, timing_context)
    assert calibration.reference_latency is not None
    assert calibration.reference_latency.median_ms > 0
    assert 0 < calibration.evaluation_s < 60


def test_calibration_follows_the_length_of_the_recipe(tmp_path: Path, spec: JSON) -> None:
    short, long = (
        calibrate(spec, spec, EvaluationContext(make_config(tmp_path, replace(RECIPE, rungs=(steps,))))).evaluation_s
        for steps in (10, 1000)
    )
    assert long > 5 * short


def test_a_calibration_without_a_target_times_nothing(context: EvaluationContext, spec: JSON) -> None:
    assert calibrate(spec, spec, context).reference_latency is None


def test_a_config_crosses_processes_as_json(tmp_path: Path) -> None:
    config = replace(make_config(tmp_path, target="cpu"), data_facts=open_data("digits").facts)
    assert EvaluationConfig.from_json(config.to_json()) == config


def test_other_data_than_the_studys_are_refused(tmp_path: Path) -> None:
    right = open_data("digits").fingerprint
    assert EvaluationContext(replace(make_config(tmp_path), data_fingerprint=right)).source.fingerprint == right
    with pytest.raises(InvalidInputError, match=r"differ from those of the study .* copy the same files to every node"):
        EvaluationContext(replace(make_config(tmp_path), data_fingerprint="0" * 64))


@pytest.mark.parametrize(
    ("device", "message"),
    [("tpu9", "'tpu9' is unknown"), ("cuda:99", "'cuda:99' is not there"), ("meta", "'meta' cannot be used")],
)
def test_a_device_that_cannot_train_is_refused(tmp_path: Path, device: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        EvaluationContext(replace(make_config(tmp_path), device=device))


def test_it_needs_neither_ray_nor_optuna_nor_ffcv_nor_a_surrogate() -> None:
    check = (
        "import sys, workers.evaluate; print(sorted({'ray', 'optuna', 'sqlalchemy', 'ffcv', 'sklearn', 'scipy.linalg'}"
        " & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def test_a_job_may_ask_for_training_free_scores_of_the_network_only(context: EvaluationContext, spec: JSON) -> None:
    [first] = list(evaluate(Job(-1, spec, seed=0, proxies=("zico", "trainability")), context))
    [second] = list(evaluate(Job(-1, spec, seed=0, proxies=("zico", "trainability")), context))
    assert first == second
    assert isinstance(first, NetworkScored)
    assert (first.trial_number, first.values.keys(), first.reasons) == (-1, {"zico", "trainability"}, {})
