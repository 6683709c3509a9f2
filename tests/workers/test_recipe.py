"""Recipes: identity, round trip, limits."""

from dataclasses import fields, replace
from typing import Any

import pytest

from nas.errors import InvalidInputError
from workers.recipe import Recipe
from workers.training.recipes import RECIPES

RECIPE = Recipe(rungs=(10, 30), batch_size=8, learning_rate=1e-3)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_json_keeps_everything(name: str) -> None:
    assert Recipe.from_json(RECIPES[name].to_json()) == RECIPES[name]
    assert Recipe.from_json(RECIPES[name].to_json()).hash == RECIPES[name].hash


def test_every_field_enters_the_hash() -> None:
    changed: dict[str, Any] = {
        "rungs": (10, 31),
        "betas": (0.8, 0.99),
        "horizontal_flip": True,
        "max_shift": 1,
        "batch_size": 9,
        "schedule": "inverse_sqrt",
        "image_size": 24,
        "amp": "fp16",
        "distillation": "hard",
    }
    hashes = [replace(RECIPE, **{f.name: changed.get(f.name, 0.123)}).hash for f in fields(Recipe)]
    assert len({RECIPE.hash, *hashes}) == len(hashes) + 1


def test_recorded_recipes_keep_their_hash() -> None:
    hashes = {name: RECIPES[name].hash[:12] for name in ("nano", "cifar", "imagenet-proxy")}
    assert hashes == {"nano": "2d83a2d61e3c", "cifar": "f32498b51e5d", "imagenet-proxy": "f7446086dac1"}
    assert set(RECIPE.to_json()).isdisjoint(
        {"schedule", "image_size", "mixup", "cutmix", "ema_decay", "amp", "teacher", "distillation"}
    )
    assert Recipe.from_json(RECIPE.to_json() | {"mixup": 0.0, "amp": "bf16"}).hash == RECIPE.hash


def test_the_last_rung_is_the_whole_training() -> None:
    assert RECIPE.steps == 30


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rungs", ()),
        ("rungs", (0, 3)),
        ("rungs", (5, 5)),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warmup", 1.0),
        ("rungs", (10**400,)),
        ("weight_decay", -1.0),
        ("betas", (0.9, 1.0)),
        ("label_smoothing", 1.0),
        ("clip_grad_norm", 0.0),
        ("drop_path_rate", 1.0),
        ("max_shift", -1),
        ("min_crop_area", 0.0),
        ("image_size", 20),
        ("image_size", 8),
        ("mixup", -0.1),
        ("cutmix", float("nan")),
        ("ema_decay", 1.0),
        ("amp", "fp8"),
        ("distillation", "warm"),
        ("distillation_weight", 0.0),
        ("distillation_temperature", 0.0),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=f"recipe: {field} is"):
        replace(RECIPE, **{field: value})


def test_json_with_wrong_fields_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="unknown field 'epochs'"):
        Recipe.from_json({**RECIPE.to_json(), "epochs": 3})
    with pytest.raises(InvalidInputError, match="'rungs' is missing"):
        Recipe.from_json({"batch_size": 8, "learning_rate": 0.1})


def test_rungs_halve_the_training_and_change_its_schedule() -> None:
    assert RECIPES["nano"].with_rungs(1) == RECIPES["nano"]
    halved = RECIPES["nano"].with_rungs(3)
    assert (halved.rungs, halved.schedule) == ((24, 48, 96), "inverse_sqrt")
    with pytest.raises(InvalidInputError, match="--rungs is 9, but a training of 96 steps cannot be halved that often"):
        RECIPES["nano"].with_rungs(9)
