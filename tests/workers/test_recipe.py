"""Recipes: identity, round trip, limits."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from nas.errors import InvalidInputError
from workers.data.digits import open_digits
from workers.data.registry import KINDS
from workers.recipe import DEFAULT_RECIPES, RECIPES, Recipe, default_recipe, named_recipe, recipe_of, search_recipe

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


def test_an_unknown_name_lists_the_known_ones() -> None:
    assert named_recipe("nano") is RECIPES["nano"]
    with pytest.raises(
        InvalidInputError, match="'huge' is unknown; expected one of nano, nano-rungs, cifar, imagenet-proxy"
    ):
        named_recipe("huge")


def test_a_recipe_is_a_name_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(RECIPE.to_json()))
    assert recipe_of("nano") is RECIPES["nano"]
    assert recipe_of(str(file)) == RECIPE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[96]", "holds a list; expected an object with the fields of Recipe"),
        ('{"rungs": [9], "batch_size": "64", "learning_rate": 0.1}', 'batch_size is "64", expected a whole number'),
        ('{"rungs": 9, "batch_size": 64, "learning_rate": 0.1}', "rungs is 9, expected a list of numbers"),
        ('{"rungs": {"a": 4}, "batch_size": 64, "learning_rate": 0.1}', "rungs is .*, expected a list of numbers"),
        ('{"rungs": [true], "batch_size": 64, "learning_rate": 0.1}', "rungs is .true., expected a list of numbers"),
        (
            '{"rungs": [9], "batch_size": 64, "learning_rate": 0.1, "horizontal_flip": "no"}',
            'horizontal_flip is "no", expected true or false',
        ),
        ('{"rungs": [9], "batch_size": 64, "learning_rate": true}', "learning_rate is true, expected a number"),
        ('{"rungs": [9], "batch_size": 0, "learning_rate": 0.1}', "batch_size is 0"),
        (
            '{"rungs": [9.5], "batch_size": 64, "learning_rate": 0.1}',
            "rungs is .9.5., expected a list of numbers",
        ),
        ('{"rungs": [9], "batch_size": 64.0, "learning_rate": 0.1}', "batch_size is 64.0, expected a whole number"),
        (None, "cannot be read .No such file or directory.; give a JSON file, or one of nano, "),
    ],
)
def test_a_file_that_is_no_recipe_says_why(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "mine.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        recipe_of(str(file))


def test_every_kind_of_data_has_a_recipe() -> None:
    assert set(DEFAULT_RECIPES) == set(KINDS)
    assert default_recipe(open_digits()) is RECIPES["nano"]


@pytest.mark.parametrize(
    ("kind", "num_train", "batch_size", "steps"),
    [
        ("folder", 60, 16, 96),  # the floor: as many steps as the nano recipe
        ("folder", 5_000, 128, 312),  # 8 epochs, as on ImageNet: 20,000 * 512 / 1,281,167 = 7.99
        ("beton", 1_281_167, 512, 20_000),
        ("folder", 14_000_000, 512, 20_000),
        ("cifar10", 45_000, 128, 3_510),
        ("cifar100", 4_500, 128, 351),  # 10 epochs
    ],
)
def test_smaller_sets_get_the_same_epochs(kind: str, num_train: int, batch_size: int, steps: int) -> None:
    data = replace(open_digits(), kind=kind, num_train=num_train)
    recipe = default_recipe(data)
    assert (recipe.batch_size, recipe.steps) == (batch_size, steps)


def test_a_search_takes_the_recipe_it_is_given_and_says_itself_how_often_to_score(tmp_path: Path) -> None:
    data = open_digits()
    file = tmp_path / "mine.json"
    assert search_recipe(None, data, 1) == RECIPES["nano"]
    assert search_recipe(None, data, 2) == RECIPES["nano"].with_rungs(2)
    assert search_recipe(None, data, 3) == RECIPES["nano-rungs"].with_rungs(
        3
    )  # a quarter of nano's steps tells nothing (docs/measurements/audit.md)
    assert search_recipe("nano", data, 3) == RECIPES["nano"].with_rungs(3)
    assert search_recipe("nano-rungs", data, 4) == replace(RECIPES["nano-rungs"], rungs=(64, 128, 256, 512))
    file.write_text('{"rungs": [4, 8], "batch_size": 16, "learning_rate": 0.001}')
    with pytest.raises(InvalidInputError, match="gives 2 rungs; expected one, the steps of the whole training"):
        search_recipe(str(file), data, 2)
    file.write_text('{"rungs": [8], "batch_size": 16, "learning_rate": 0.001, "distillation": "hard"}')
    with pytest.raises(InvalidInputError, match="no teacher"):
        search_recipe(str(file), data, 1)


def test_rungs_halve_the_training_and_change_its_schedule() -> None:
    assert RECIPES["nano"].with_rungs(1) == RECIPES["nano"]
    halved = RECIPES["nano"].with_rungs(3)
    assert (halved.rungs, halved.schedule) == ((24, 48, 96), "inverse_sqrt")
    with pytest.raises(InvalidInputError, match="--rungs is 9, but a training of 96 steps cannot be halved that often"):
        RECIPES["nano"].with_rungs(9)
