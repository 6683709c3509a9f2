"""How an architecture is trained for its score: one frozen value, hashed into every training record."""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Self

from nas.errors import InvalidInputError
from nas.records import JSON
from nas.text import json_hash

SCHEDULES = "one_cycle", "inverse_sqrt"
AMP_TYPES = "bf16", "fp16", "none"
RUNG_SCHEDULE = "inverse_sqrt"
"""Schedule of trainings with more than one rung; `benchmarks/rungs.py` chose it."""
COOLDOWN = 0.3
"""Share of the steps at the end over which inverse_sqrt goes to zero."""
MAX_STEPS = 10**9
"""Longest training that is no mistake."""
DISTILLATIONS = "soft", "hard"
_TAUGHT = "distillation", "distillation_weight", "distillation_temperature", "teacher"
_ADDED = "schedule", "image_size", "mixup", "cutmix", "ema_decay", "amp", *_TAUGHT
"""Fields that the first recorded recipes lack: written where they are not at their default, so that those keep their
hash."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Recipe:
    """AdamW with a warm-up, then a half cosine down to zero, on cross-entropy; gradient norms are clipped.

    Raises:
        InvalidInputError: for a value out of its range; the message names the field.
    """

    rungs: tuple[int, ...]
    """Optimizer steps after which the model is validated, ascending. The last one ends the training; the schedule spans
    all of it."""
    batch_size: int
    """Images per optimizer step."""
    learning_rate: float
    """Peak, reached at the end of the warm-up."""
    warmup: float = 0.3
    """Share of the steps over which the learning rate rises linearly."""
    schedule: str = "one_cycle"
    """After the warm-up: one_cycle, half a cosine to zero at the last step; inverse_sqrt, with the inverse square root
    of the step, times a line to zero over the last COOLDOWN of the steps."""
    weight_decay: float = 0.05
    """Decoupled; on matrices and kernels only, not on norms and biases."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's means of the gradients and of their squares."""
    label_smoothing: float = 0.1
    """Probability mass spread over all classes."""
    clip_grad_norm: float = 1.0
    """Largest L2 norm of the gradient."""
    drop_path_rate: float = 0.0
    """Stochastic depth of the last block; rises linearly from zero at the first."""
    max_shift: int = 0
    """Random translation of training images, pixels in each direction. 0 leaves them in place."""
    horizontal_flip: bool = False
    """Mirror half of the training images."""
    min_crop_area: float = 1.0
    """Smallest share of the image that a random resized crop keeps; 1 cuts out the centre instead."""
    image_size: int = 0
    """Side of the training images, pixels; 0 for the data's own. Validation, test and latency keep that: the network is
    used there. Source: Touvron et al., "Fixing the train-test resolution discrepancy", which trains on smaller images
    than it tests on."""
    mixup: float = 0.0
    """Both parameters of the beta distribution from which the share of the other image in a blend is drawn, one for
    each batch; 0 for no mixup. Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization"."""
    cutmix: float = 0.0
    """The same for the area of a rectangle from the other image. With both, each batch gets one of them with equal
    probability. Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features"."""
    ema_decay: float = 0.0
    """Decay of an exponential moving average of the weights, which is then what is scored and kept; 0 for none. The
    average over the first k steps has 1 - k^(-2/3) instead where that is smaller, or short trainings would keep their
    initial weights."""
    amp: str = "bf16"
    """Number format of the matrix products and convolutions on a GPU: bf16, fp16 (with a scaled loss) or none, which
    leaves all in float32. On a CPU everything is computed in float32 whatever stands here."""
    distillation: str = "soft"
    """What a student learns from its teacher: soft, its probabilities, or hard, the class that it says; see
    workers/training/distillation.py."""
    distillation_weight: float = 0.5
    """Share of the teacher in the loss; the labels have the rest."""
    distillation_temperature: float = 4.0
    """Divides the logits of both before soft distillation."""
    teacher: str = ""
    """Name and digest of the teacher, as `taught_by` puts them in; empty where there is none."""

    def __post_init__(self) -> None:
        rules = {
            "rungs": _is_ascending(self.rungs) and self.steps <= MAX_STEPS,
            "batch_size": self.batch_size >= 1,
            "learning_rate": 0 < self.learning_rate < 100,
            "warmup": 0 <= self.warmup < 1,
            "schedule": self.schedule in SCHEDULES,
            "weight_decay": 0 <= self.weight_decay < 100,
            "betas": len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "clip_grad_norm": 0 < self.clip_grad_norm < math.inf,
            "drop_path_rate": 0 <= self.drop_path_rate < 1,
            "max_shift": self.max_shift >= 0,
            "min_crop_area": 0 < self.min_crop_area <= 1,
            "image_size": self.image_size == 0 or (self.image_size >= 16 and self.image_size % 8 == 0),
            "mixup": 0 <= self.mixup < 100,
            "cutmix": 0 <= self.cutmix < 100,
            "ema_decay": 0 <= self.ema_decay < 1,
            "amp": self.amp in AMP_TYPES,
            "distillation": self.distillation in DISTILLATIONS,
            "distillation_weight": 0 < self.distillation_weight <= 1,
            "distillation_temperature": 0 < self.distillation_temperature < 1000,
        }
        for name, holds in rules.items():
            if not holds:
                raise InvalidInputError(
                    f"recipe: {name} is {getattr(self, name)!r}, which is out of range; see its description in "
                    "workers/recipe.py"
                )

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.rungs[-1]

    @property
    def hash(self) -> str:
        """SHA-256 (64 hex digits) of the canonical JSON; equal recipes train alike."""
        return json_hash(self.to_json())

    def to_json(self) -> JSON:
        """Plain values; see _ADDED for what is left out."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        neutral = {field.name: field.default for field in fields(self) if field.name in _ADDED}
        return {name: value for name, value in values.items() if name not in neutral or value != neutral[name]}

    def with_rungs(self, num_rungs: int) -> Self:
        """The same training, scored `num_rungs` times: at its end, half-way, after a quarter, and so on.

        With more than one rung it takes the schedule whose early scores told most (docs/measurements/search.md).

        Raises:
            InvalidInputError: if the training has too few steps for that.
        """
        if num_rungs > self.steps.bit_length():  # so many halves are at least one step
            raise InvalidInputError(
                f"--rungs is {num_rungs}, but a training of {self.steps} steps cannot be halved that often; give "
                "fewer rungs"
            )
        rungs = tuple(self.steps // 2**place for place in reversed(range(num_rungs)))
        return replace(self, rungs=rungs, schedule=RUNG_SCHEDULE if num_rungs > 1 else self.schedule)

    def training_size(self, image_size: int) -> int:
        """Side of the training images from data whose images have this side.

        Raises:
            InvalidInputError: if it is larger: the data are not kept at that size.
        """
        if self.image_size > image_size:
            raise InvalidInputError(
                f"the recipe trains on images of {self.image_size} pixels, the data have {image_size}; give that "
                "or less"
            )
        return self.image_size or image_size

    def taught_by(self, teacher: str | None) -> Self:
        """The recipe with this teacher, or without one.

        Raises:
            InvalidInputError: if there is none and the recipe speaks of one.
        """
        if teacher is not None:
            return replace(self, teacher=teacher)
        if spoken := [
            field.name for field in fields(self) if field.name in _TAUGHT and getattr(self, field.name) != field.default
        ]:
            raise InvalidInputError(
                f"the recipe gives {spoken[0]}, and there is no teacher; name one with finalize --teacher"
            )
        return self

    @classmethod
    def from_json(cls, values: JSON) -> Self:
        """Inverse of to_json.

        Raises:
            InvalidInputError: for an unknown or missing field, or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InvalidInputError(
                f"recipe: unknown field {unknown[0]!r}; expected fields among {', '.join(sorted(known))}"
            )
        if missing := sorted({"rungs", "batch_size", "learning_rate"} - set(values)):
            raise InvalidInputError(f"recipe: field {missing[0]!r} is missing; add it")
        arguments: JSON = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**arguments)


def _is_ascending(rungs: tuple[int, ...]) -> bool:
    """Whether there is a rung, and each lies after the one before it, the first after no step at all."""
    return bool(rungs) and all(before < after for before, after in zip((0, *rungs), rungs, strict=False))
