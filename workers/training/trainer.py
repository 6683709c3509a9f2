"""Short training of one model, in slices that let others time on the device in between."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any

import torch
from timm.optim._param_groups import param_groups_weight_decay
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.transforms import v2

from nas.records import RungScore
from workers.data.batches import Batch, Batches
from workers.memory import keep_freed_memory
from workers.recipe import COOLDOWN, Recipe
from workers.training.convolutions import use_fast_convolutions
from workers.training.distillation import distillation_loss

SLICE_S = 0.05
"""How long a slice of training holds the device lock before it gives way; one step at least."""


class NonFiniteLossError(ArithmeticError):
    """The training diverged: loss or logits are NaN or infinite. The architecture's own outcome (DESIGN 2.7)."""


def learning_rate(recipe: Recipe, step: int) -> float:
    """Rate of the 0-based step: linear from zero to the peak over the warm-up, then by the schedule; zero after the
    last step."""
    warmup_steps = round(recipe.warmup * recipe.steps)
    if step < warmup_steps:
        return recipe.learning_rate * (step + 1) / warmup_steps
    if recipe.schedule == "inverse_sqrt":
        fall = math.sqrt(max(1, warmup_steps) / max(1, step))
        return recipe.learning_rate * fall * min(1.0, (recipe.steps - step) / (COOLDOWN * recipe.steps))
    progress = (step - warmup_steps) / max(1, recipe.steps - warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


class Trainer:
    """A model, its optimizer and its place in the recipe.

    Every random number of step i (drop path, mixup) depends on the seed and i only, so what happens in between changes
    nothing: equal seeds give bit-identical models on the CPU with an equal number of threads.

    Args:
        model: trained in place, on `device`.
        num_classes: of its logits.
        teacher: on `device`, for a recipe that has one; sees the images of each step, mixed as they are.
        micro_batches: parts in which each batch goes through the model, for less memory; gradients are accumulated,
            batch norms see parts.
        computing: gives a context that is held for each slice of work; it may wait on entry (a device lock, held
            shared).
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        recipe: Recipe,
        *,
        num_classes: int,
        teacher: nn.Module | None = None,
        micro_batches: int = 1,
        seed: int,
        device: torch.device,
        computing: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.busy_s = 0.0
        """Seconds of training and validation, waiting on entry and for the caller excluded."""
        self.steps = 0
        """Optimizer steps done."""
        self.micro_batches = micro_batches
        self._recipe = recipe
        self._batches = batches
        self._seed = seed
        self._device = device
        self._computing = computing
        # Measured on nano networks: 1.0 to 1.7 times as fast as contiguous on a CPU too, the more convolutions the
        # faster.
        self._model = model.to(device).to(memory_format=torch.channels_last)
        if device.type == "cpu":
            keep_freed_memory()
            use_fast_convolutions(self._model)
        # Kept, because a walk through the modules at every step costs 2 % of it, and torch.manual_seed, which seeds the
        # generators of all devices, another.
        self._parameters = list(model.parameters())
        self._generators = _generators(device)
        groups = param_groups_weight_decay(model, recipe.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)
        self._train_batches = batches.train(seed)
        on_gpu = device.type == "cuda"
        self._autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(recipe.amp) if on_gpu else None
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._autocast == torch.float16)
        self._average = ModelEmaV3(self._model, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
        self._mix = _mixing(recipe, num_classes)
        assert (teacher is not None) == bool(recipe.teacher), "who teaches stands in the recipe"
        self._teacher = teacher

    @property
    def network(self) -> nn.Module:
        """What is scored and kept: the moving average of the model where the recipe asks for one, else the model."""
        return self._model if self._average is None else self._average.module

    def weights(self) -> dict[str, Tensor]:
        """The state of `network`, on the CPU."""
        with self._computing():
            return {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}

    def run(self) -> Iterator[RungScore]:
        """Train by the recipe and yield the score of each rung; who stops asking stops the training.

        Raises:
            NonFiniteLossError: if the training diverges.
        """
        for rung, steps in enumerate(self._recipe.rungs):
            loss = self.advance(steps)
            yield self.rung_score(rung, loss)

    def rung_score(self, rung: int, loss: float) -> RungScore:
        """Validate, and say how this training stands.

        Raises:
            NonFiniteLossError: if a logit is NaN or infinite.
        """
        return RungScore(rung, self.steps, self.validate(), loss, self.busy_s, self.micro_batches)

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` of an equal trainer needs to go on from here, but the place in the data."""
        state = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "steps": self.steps,
            "busy_s": self.busy_s,
            "micro_batches": self.micro_batches,
        }
        if self._average is not None:
            state["average"] = self._average.module.state_dict()
        if self._scaler.is_enabled():
            state["scaler"] = self._scaler.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another trainer of the same model and recipe was; call `restart_data` next."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.module.load_state_dict(state["average"])
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state["scaler"])
        self.steps = state["steps"]
        self.busy_s = state["busy_s"]
        self.micro_batches = state["micro_batches"]

    def restart_data(self) -> None:
        """Begin an epoch in an order that depends on the seed and the steps done only, so that a training that goes on
        from a checkpoint and one that was never interrupted see the same images."""
        self._train_batches = self._batches.train(self._seed * 1_000_003 + self.steps)

    def advance(self, to_step: int) -> float:
        """Train up to `to_step` steps in all; returns the mean loss of the new ones.

        Raises:
            NonFiniteLossError: if a loss is NaN or infinite; at the latest a slice after it happened.
        """
        start = self.steps
        assert to_step > start, "there is nothing to train"
        self._model.train()
        total = torch.zeros((), device=self._device)
        while self.steps < to_step:
            with self._slice():
                deadline = time.monotonic() + SLICE_S
                while self.steps < to_step:
                    total += self._step()
                    if time.monotonic() >= deadline:
                        break
            if not torch.isfinite(total):
                raise NonFiniteLossError(f"non-finite loss within the first {self.steps} steps")
        return float(total) / (to_step - start)

    def validate(self, max_batches: int | None = None) -> float:
        """top1 on the validation split, on its first `max_batches` batches if given.

        Raises:
            NonFiniteLossError: if a logit is NaN or infinite.
        """
        return self.score(islice(self._batches.validation(), max_batches))

    def score(self, batches: Iterator[Batch]) -> float:
        """top1 on these images in evaluation mode.

        Raises:
            NonFiniteLossError: if a logit is NaN or infinite.
        """
        correct = torch.zeros((), dtype=torch.int64, device=self._device)
        finite = torch.ones((), dtype=torch.bool, device=self._device)
        count = 0
        network = self.network.eval()
        while True:
            with self._slice(), torch.inference_mode():
                batch = next(batches, None)
                if batch is None:
                    break
                logits = torch.cat([self._forward(network, part) for part in batch[0].chunk(self.micro_batches)])
                correct += (logits.argmax(1) == batch[1]).sum()
                finite &= logits.isfinite().all()
                count += len(batch[1])
        if not finite:
            raise NonFiniteLossError(f"non-finite logits after {self.steps} steps")
        return int(correct) / count

    def _step(self) -> Tensor:
        for generator in self._generators:
            generator.manual_seed(self._seed * 1_000_003 + self.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._recipe, self.steps)
        images, targets = next(self._train_batches)
        if self._mix is not None:
            images, targets = self._mix(images, targets)
        self._optimizer.zero_grad(set_to_none=True)
        parts = zip(images.chunk(self.micro_batches), targets.chunk(self.micro_batches), strict=True)
        loss = sum((self._backward(*part, len(images)) for part in parts), torch.zeros((), device=self._device))
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip_grad_norm, foreach=True)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.steps += 1
        if self._average is not None:
            self._average.update(self._model, self.steps)
        return loss

    def _backward(self, images: Tensor, targets: Tensor, batch_size: int) -> Tensor:
        """Add the gradients of these images to those there are; returns their part of the loss of the batch."""
        logits = self._forward(self._model, images)
        loss = cross_entropy(logits, targets, label_smoothing=self._recipe.label_smoothing)
        if self._teacher is not None:
            with torch.no_grad():
                taught = self._forward(self._teacher, images)
            loss = torch.lerp(loss, distillation_loss(logits, taught, self._recipe), self._recipe.distillation_weight)
        loss = loss * (len(images) / batch_size)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _forward(self, network: nn.Module, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, dtype=self._autocast, enabled=self._autocast is not None):
            logits: Tensor = network(images)
        return logits.float()

    @contextmanager
    def _slice(self) -> Iterator[None]:
        with self._computing():
            start = time.monotonic()
            try:
                yield
                if self._device.type == "cuda":  # what was launched must be over before the lock is given up
                    torch.cuda.synchronize(self._device)
            finally:
                self.busy_s += time.monotonic() - start


def _generators(device: torch.device) -> list[torch.Generator]:
    """What mixup (on the CPU) and drop path (on the device) take their random numbers from."""
    on_gpu = [torch.cuda.default_generators[device.index or 0]] if device.type == "cuda" else []
    return [torch.default_generator, *on_gpu]


def _mixing(recipe: Recipe, num_classes: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """(images, labels) -> images mixed with their neighbours in the batch, and (num, num_classes) probabilities; None
    for no mixing.

    Takes its random numbers from torch's global generator.
    """
    found = [
        make(alpha=alpha, num_classes=num_classes)
        for make, alpha in ((v2.MixUp, recipe.mixup), (v2.CutMix, recipe.cutmix))
        if alpha
    ]
    return v2.RandomChoice(found) if found else None
