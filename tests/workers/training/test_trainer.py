"""Training: it learns, it repeats itself, it notices divergence, it lets others in."""

import math
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from workers.data.batches import Batches, TensorBatches
from workers.data.digits import load_digits_batches, make_canvases, open_digits
from workers.latency.device_lock import DeviceLock
from workers.recipe import Recipe
from workers.training.trainer import SLICE_S, NonFiniteLossError, Trainer, learning_rate

CPU = torch.device("cpu")
RECIPE = Recipe(rungs=(20, 60), batch_size=64, learning_rate=5e-3, warmup=0.2)


def test_inverse_square_root_falls_without_a_jump_and_cools_down_to_zero() -> None:
    recipe = Recipe(rungs=(50, 100), batch_size=1, learning_rate=0.5, warmup=0.2, schedule="inverse_sqrt")
    rates = [learning_rate(recipe, step) for step in range(101)]
    assert rates[19] == rates[20] == 0.5
    assert rates[45] == pytest.approx(0.5 * (20 / 45) ** 0.5)
    assert rates[85] == pytest.approx(0.5 * (20 / 85) ** 0.5 * 15 / 30)
    assert rates[100] == 0
    assert all(later <= earlier for earlier, later in pairwise(rates[20:]))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def lock(tmp_path: Path) -> DeviceLock:
    return DeviceLock("cpu", tmp_path)


@pytest.fixture(scope="module")
def batches() -> Batches:
    """2,000 canvases to train on, 500 to validate on."""
    source = open_digits()
    train = make_canvases("train", 2000)
    validation = make_canvases("validation", 500)
    return TensorBatches((train.images, train.labels), (validation.images, validation.labels), source, RECIPE, CPU)


def tiny_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for width_in, width in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(width_in, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def make_trainer(
    batches: Batches, lock: DeviceLock, model: nn.Module | None = None, recipe: Recipe = RECIPE, seed: int = 0
) -> Trainer:
    return Trainer(
        model or tiny_net(seed), batches, recipe, num_classes=10, seed=seed, device=CPU, computing=lock.shared
    )


def test_a_tiny_network_learns(batches: Batches, lock: DeviceLock) -> None:
    scores = list(make_trainer(batches, lock).run())
    assert [(score.rung, score.steps) for score in scores] == [(0, 20), (1, 60)]
    assert scores[1].top1 > 0.25  # chance is 0.1
    assert scores[1].loss < scores[0].loss < math.log(10) + 0.2
    assert 0 < scores[0].duration_s < scores[1].duration_s


def test_equal_seeds_give_bit_identical_results_whatever_happens_in_between(batches: Batches, lock: DeviceLock) -> None:
    def disturbed(disturb: bool) -> tuple[list[float], Tensor]:
        trainer = make_trainer(batches, lock, model := tiny_net(), seed=5)
        scores = []
        for score in trainer.run():
            scores += [score.top1, score.loss]
            if disturb:
                torch.rand(1000)
        return scores, torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    (scores, weights) = disturbed(False)
    (scores_again, weights_again) = disturbed(True)
    assert scores == scores_again
    assert torch.equal(weights, weights_again)
    other = list(make_trainer(batches, lock, seed=6).run())
    assert other[-1].loss != scores[-1]


def test_the_schedule_rises_then_falls_to_zero() -> None:
    recipe = Recipe(rungs=(100,), batch_size=1, learning_rate=0.5, warmup=0.2)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.5 / 20)
    assert rates[19] == rates[20] == 0.5
    assert rates[60] == pytest.approx(0.25)  # half-way down the cosine
    assert learning_rate(recipe, 100) == pytest.approx(0)
    assert all(a < b for a, b in pairwise(rates[:20]))
    assert all(a > b for a, b in pairwise(rates[20:]))
    assert learning_rate(replace(recipe, warmup=0.0), 0) == 0.5


class Poisoned(nn.Module):
    """A network whose output becomes NaN at one forward pass."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.net = tiny_net()
        self.at = at
        self.passes = 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        logits: Tensor = self.net(images)
        return logits * float("nan") if self.passes == self.at else logits


def test_a_non_finite_loss_is_noticed_at_once(batches: Batches, lock: DeviceLock) -> None:
    trainer = make_trainer(batches, lock, Poisoned(at=3))
    with pytest.raises(NonFiniteLossError, match="non-finite loss within the first"):
        trainer.advance(60)
    assert trainer.steps < 60


def test_a_non_finite_logit_in_validation_is_noticed(batches: Batches, lock: DeviceLock) -> None:
    with pytest.raises(NonFiniteLossError, match="non-finite logits after 0 steps"):
        make_trainer(batches, lock, Poisoned(at=1)).validate()


def test_an_absurd_learning_rate_diverges_or_stays_finite_but_never_scores_nan(
    batches: Batches, lock: DeviceLock
) -> None:
    recipe = replace(RECIPE, learning_rate=99.0, clip_grad_norm=1e9, rungs=(10,))
    try:
        scores = list(make_trainer(batches, lock, recipe=recipe).run())
    except NonFiniteLossError:
        return
    assert all(math.isfinite(score.loss) for score in scores)


def test_weight_decay_spares_norms_and_biases(batches: Batches, lock: DeviceLock) -> None:
    trainer = make_trainer(batches, lock, model := tiny_net())
    decayed = {id(p) for group in trainer._optimizer.param_groups if group["weight_decay"] > 0 for p in group["params"]}
    assert decayed == {id(p) for p in model.parameters() if p.ndim > 1}


def weights_after(steps: int, batches: Batches, lock: DeviceLock, recipe: Recipe) -> list[Tensor]:
    """Of the network that is scored, after each step."""
    trainer = make_trainer(batches, lock, recipe=replace(recipe, rungs=(99,)))
    found = []
    for step in range(1, steps + 1):
        trainer.advance(step)
        found.append(
            torch.cat(
                [value.flatten() for value in trainer.network.state_dict().values() if value.is_floating_point()]
            ).clone()
        )
    return found


def test_the_average_follows_the_weights_and_changes_none_of_them(batches: Batches, lock: DeviceLock) -> None:
    plain = weights_after(5, batches, lock, RECIPE)
    averaged = weights_after(5, batches, lock, replace(RECIPE, ema_decay=0.55))
    expected = plain[0]
    for step, (weights, average) in enumerate(zip(plain, averaged, strict=True), start=1):
        expected = torch.lerp(weights, expected, min(0.55, 1 - step ** (-2 / 3)))
        assert torch.allclose(average, expected, atol=1e-6), step
    assert not torch.allclose(averaged[-1], plain[-1], atol=1e-3)


def test_the_average_is_what_is_scored(batches: Batches, lock: DeviceLock) -> None:
    trainer = make_trainer(batches, lock, model := tiny_net(), recipe=replace(RECIPE, ema_decay=0.9))
    trainer.advance(60)
    before = trainer.validate()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert trainer.validate() == before > 0.15


class Recorder(nn.Module):
    """A network that keeps its inputs, and whose output depends on the place in the batch only."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(64, 10, generator=torch.Generator().manual_seed(0)))
        self.seen = list[Tensor]()

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        return self.logits


@pytest.mark.parametrize("mixing", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}])
def test_images_and_targets_are_mixed_in_the_same_shares(
    mixing: dict[str, float], batches: Batches, lock: DeviceLock
) -> None:
    recipe = replace(RECIPE, label_smoothing=0.0, learning_rate=1e-9, weight_decay=0.0, **mixing)
    first = Recorder()
    second = Recorder()
    trainer = make_trainer(batches, lock, first, recipe)
    again = make_trainer(batches, lock, second, recipe)
    original = batches.train(0)
    kinds = set()
    for step in range(1, 9):
        loss = trainer.advance(step)
        torch.rand(7)  # what happens in between changes nothing
        assert again.advance(step) == loss
        images, labels = next(original)
        mixed = first.seen[-1]
        neighbours = images.roll(1, 0)
        assert torch.equal(mixed, second.seen[-1])
        pasted = ((mixed == images) | (mixed == neighbours)).all()
        kinds.add("cutmix" if pasted else "mixup")
        blend = ((mixed - neighbours) * (images - neighbours)).sum() / (images - neighbours).square().sum()
        differs = (images != neighbours).any(0)
        share = float((mixed == images).all(0)[differs].float().mean()) if pasted else float(blend)
        cost = -Recorder().logits.detach().log_softmax(1)
        place = torch.arange(64)
        expected = (share * cost[place, labels] + (1 - share) * cost[place, labels.roll(1)]).mean()
        assert loss == pytest.approx(float(expected), abs=1e-4)
    assert kinds == set(mixing)


def test_gradients_of_parts_are_those_of_the_batch(batches: Batches, lock: DeviceLock) -> None:
    def trained(micro_batches: int) -> tuple[float, Tensor, float]:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Flatten(), nn.LayerNorm(1024), nn.Linear(1024, 10)
        )  # neither batch norm nor dropout tells parts apart
        recipe = replace(RECIPE, mixup=0.8, batch_size=64)
        trainer = Trainer(
            model,
            batches,
            recipe,
            num_classes=10,
            micro_batches=micro_batches,
            seed=0,
            device=CPU,
            computing=lock.shared,
        )
        loss = trainer.advance(8)
        return loss, torch.cat([parameter.detach().flatten() for parameter in model.parameters()]), trainer.validate()

    (loss, weights, top1) = trained(1)
    (loss_in_parts, weights_in_parts, top1_in_parts) = trained(3)
    assert loss_in_parts == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(weights, weights_in_parts, atol=1e-4)
    assert top1_in_parts == pytest.approx(top1, abs=0.005)


def test_half_precision_is_for_gpus(batches: Batches, lock: DeviceLock) -> None:
    losses = [
        make_trainer(batches, lock, recipe=replace(RECIPE, amp=amp)).advance(3) for amp in ("bf16", "fp16", "none")
    ]
    assert len(set(losses)) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("amp", ["bf16", "fp16", "none"])
def test_every_number_format_trains_on_a_gpu_and_goes_on_from_its_state(amp: str, lock: DeviceLock) -> None:
    gpu = torch.device("cuda")
    recipe = replace(RECIPE, amp=amp, ema_decay=0.9, mixup=0.8, cutmix=1.0)
    batches = load_digits_batches(open_digits(), recipe, gpu)

    def make() -> Trainer:
        return Trainer(tiny_net(), batches, recipe, num_classes=10, seed=0, device=gpu, computing=lock.shared)

    trainer = make()
    trainer.advance(30)
    state = trainer.state_dict()
    assert ("scaler" in state) == (amp == "fp16")
    other = make()
    other.load_state_dict(state)
    other.restart_data()
    other.advance(60)
    assert other.validate() > 0.15


def test_validation_neither_trains_nor_updates_statistics(batches: Batches, lock: DeviceLock) -> None:
    trainer = make_trainer(batches, lock, model := tiny_net())
    trainer.advance(5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert trainer.validate() == trainer.validate()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert 0 <= trainer.validate(max_batches=1) <= 1


def test_timing_gets_its_turn_within_a_slice_and_waiting_is_not_counted(
    batches: Batches, lock: DeviceLock, tmp_path: Path
) -> None:
    trainer = make_trainer(batches, lock)
    trainer.advance(2)
    waits: list[float] = []

    def time_something() -> None:
        other = DeviceLock("cpu", tmp_path)
        time.sleep(0.05)
        with other.exclusive() as waited_s:
            waits.append(waited_s)
            time.sleep(1.0)

    timing = threading.Thread(target=time_something)
    start = time.monotonic()
    busy_before = trainer.busy_s
    timing.start()
    trainer.advance(60)
    while timing.is_alive():  # on a fast machine the training may be over before the timing begins
        trainer.validate(max_batches=1)
    wall_s = time.monotonic() - start
    assert waits[0] < SLICE_S + 1.0  # a slice, and a step that was begun at its end, on a busy machine
    assert trainer.busy_s - busy_before <= wall_s - 0.9


def test_digits_are_ready_for_training(lock: DeviceLock) -> None:
    source = open_digits()
    trainer = make_trainer(load_digits_batches(source, RECIPE, CPU), lock)
    assert math.isfinite(trainer.advance(1))
