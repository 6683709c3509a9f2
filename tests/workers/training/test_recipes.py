"""Recipes that a person names: one reader for searches, finalists and audits; default recipes; variants."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.errors import InvalidInputError
from workers.data.digits import open_digits
from workers.data.registry import KINDS
from workers.recipe import Recipe
from workers.training.recipes import (
    DROP_PATH_RATES,
    LEARNING_RATE_FACTORS,
    RECIPES,
    WEIGHT_DECAYS,
    audit_recipe,
    default_recipe,
    final_recipe,
    named_recipe,
    recipe_of,
    search_recipe,
    variants,
)

RECIPE = Recipe(rungs=(10, 30), batch_size=8, learning_rate=1e-3)
SEARCH = RECIPES["nano"].to_json()
DIGITS = open_digits()
READERS: dict[str, Callable[[str], Recipe]] = {
    "search": lambda text: search_recipe(text, DIGITS, 1),
    "finalize": lambda text: final_recipe(text, SEARCH, DIGITS),
    "audit": lambda text: audit_recipe(text, None, RECIPES["nano"], DIGITS.image_size),
}
GOOD = {"rungs": [9], "batch_size": 64, "learning_rate": 0.1}


def outcomes(text: str) -> list[Recipe | str]:
    """What each reader makes of the text: a recipe, or its message."""
    found: list[Recipe | str] = []
    for read in READERS.values():
        try:
            found.append(read(text))
        except InvalidInputError as error:
            found.append(str(error))
    return found


def written(folder: Path, text: str) -> str:
    file = folder / "mine.json"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 10_000, "is no JSON"),
        ("[96]", "holds a list; expected an object with the fields of Recipe"),
        ('{"rungs": [8]}', "recipe: field 'batch_size' is missing; add it"),
        (json.dumps(GOOD | {"lr": 1}), "recipe: unknown field 'lr'; expected fields among amp, batch_size, "),
        (json.dumps(GOOD | {"batch_size": "64"}), 'batch_size is "64", expected a whole number'),
        (json.dumps(GOOD | {"batch_size": 64.0}), "batch_size is 64.0, expected a whole number"),
        (json.dumps(GOOD | {"batch_size": 0}), "recipe: batch_size is 0, which is out of range"),
        (json.dumps(GOOD | {"learning_rate": "fast"}), 'learning_rate is "fast", expected a number'),
        (json.dumps(GOOD | {"learning_rate": True}), "learning_rate is true, expected a number"),
        (json.dumps(GOOD | {"learning_rate": float("nan")}), "recipe: learning_rate is nan, which is out of range"),
        (json.dumps(GOOD | {"clip_grad_norm": float("inf")}), "recipe: clip_grad_norm is inf, which is out of range"),
        (json.dumps(GOOD | {"rungs": 9}), "rungs is 9, expected a list of numbers"),
        (json.dumps(GOOD | {"rungs": {"a": 4}}), 'rungs is {"a": 4}, expected a list of numbers'),
        (json.dumps(GOOD | {"rungs": [True]}), "rungs is [true], expected a list of numbers"),
        (json.dumps(GOOD | {"rungs": [9.5]}), "rungs is [9.5], expected a list of numbers"),
        (json.dumps(GOOD | {"rungs": []}), "recipe: rungs is (), which is out of range"),
        (json.dumps(GOOD | {"betas": [0.9, "much"]}), 'betas is [0.9, "much"], expected a list of numbers'),
        (json.dumps(GOOD | {"horizontal_flip": "no"}), 'horizontal_flip is "no", expected true or false'),
        (json.dumps(GOOD | {"schedule": None}), "schedule is null, expected a text"),
        (json.dumps(GOOD | {"amp": "fp8"}), "recipe: amp is 'fp8', which is out of range"),
        (json.dumps(GOOD | {"distillation": "hard"}), "the recipe gives distillation, and there is no teacher"),
        (json.dumps(GOOD | {"teacher": "resnet"}), "the recipe gives teacher, and there is no teacher"),
        (
            json.dumps(GOOD | {"image_size": 224}),
            "the recipe trains on images of 224 pixels, the data have 32; give that or less",
        ),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_by_all_in_the_same_words(tmp_path: Path, text: str, message: str) -> None:
    said = outcomes(written(tmp_path, text))
    assert said == [said[0]] * len(READERS)
    assert isinstance(said[0], str) and message in said[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("best", "recipe 'best' is unknown; expected one of nano, nano-rungs, cifar, imagenet-proxy"),
        ("mine.yaml", "recipe 'mine.yaml' is unknown; expected one of nano, "),
        (
            "gone.json",
            "recipe 'gone.json' cannot be read (No such file or directory); give a JSON file, or one of nano",
        ),
        ("~nobody-of-that-name/r.json", "begins with the home of a user who has none here"),
        ("a-folder.json", "a-folder.json' is a folder; expected a file name"),
    ],
)
def test_what_names_no_recipe_is_refused_by_all_in_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(json.dumps(GOOD))
    (tmp_path / "a-folder.json").mkdir()
    said = outcomes(text)
    assert said == [said[0]] * len(READERS)
    assert isinstance(said[0], str) and message in said[0]


VALUES = st.none() | st.booleans() | st.integers(-1, 600) | st.floats() | st.text(max_size=3)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(
        st.sampled_from([*(field.name for field in fields(Recipe)), "epochs"]),
        VALUES | st.lists(VALUES, max_size=2),
        max_size=3,
    )
)
def test_whatever_a_file_holds_all_read_it_alike(tmp_path: Path, changes: dict[str, object]) -> None:
    """But for the rungs: a search and an audit score as they say themselves."""
    changes.pop("rungs", None)
    found = outcomes(written(tmp_path, json.dumps(GOOD | changes)))
    assert found == [found[0]] * len(READERS)


def test_a_home_is_found_by_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, json.dumps(GOOD))
    assert outcomes("~/mine.json") == [Recipe.from_json(GOOD)] * len(READERS)


def test_only_a_search_says_itself_how_often_to_score(tmp_path: Path) -> None:
    found = dict(zip(READERS, outcomes(written(tmp_path, json.dumps(RECIPE.to_json()))), strict=True))
    assert "gives 2 rungs; expected one, the steps of the whole training" in str(found["search"])
    assert found["finalize"] == RECIPE
    assert found["audit"] == replace(RECIPE, rungs=(30,))


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


def test_every_kind_of_data_has_a_recipe() -> None:
    for kind in KINDS.values():
        assert {kind.recipe, kind.recipe_of_many_rungs or kind.recipe} <= set(RECIPES)
    assert default_recipe(DIGITS) is RECIPES["nano"]


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
    data = replace(DIGITS, kind=kind, num_train=num_train)
    recipe = default_recipe(data)
    assert (recipe.batch_size, recipe.steps) == (batch_size, steps)


def test_a_search_takes_the_recipe_it_is_given_and_says_itself_how_often_to_score(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    assert search_recipe(None, DIGITS, 1) == RECIPES["nano"]
    assert search_recipe(None, DIGITS, 2) == RECIPES["nano"].with_rungs(2)
    # A quarter of nano's steps tells nothing (docs/measurements/audit.md).
    assert search_recipe(None, DIGITS, 3) == RECIPES["nano-rungs"].with_rungs(3)
    assert search_recipe("nano", DIGITS, 3) == RECIPES["nano"].with_rungs(3)
    assert search_recipe("nano-rungs", DIGITS, 4) == replace(RECIPES["nano-rungs"], rungs=(64, 128, 256, 512))
    file.write_text('{"rungs": [4, 8], "batch_size": 16, "learning_rate": 0.001}')
    with pytest.raises(InvalidInputError, match="gives 2 rungs; expected one, the steps of the whole training"):
        search_recipe(str(file), DIGITS, 2)
    file.write_text('{"rungs": [8], "batch_size": 16, "learning_rate": 0.001, "distillation": "hard"}')
    with pytest.raises(InvalidInputError, match="no teacher"):
        search_recipe(str(file), DIGITS, 1)


def test_by_default_a_finalist_is_trained_eight_times_as_long_as_in_the_search() -> None:
    recipe = final_recipe(None, RECIPES["nano"].with_rungs(3).to_json(), DIGITS)
    assert recipe.rungs == (96, 192, 384, 768)
    assert (recipe.batch_size, recipe.learning_rate) == (RECIPES["nano"].batch_size, RECIPES["nano"].learning_rate)


def test_a_name_is_scored_four_times_and_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    assert final_recipe("cifar", SEARCH, DIGITS).rungs == (438, 877, 1755, 3510)
    own = Recipe(rungs=(5, 7), batch_size=8, learning_rate=0.1)
    (tmp_path / "own.json").write_text(json.dumps(own.to_json()))
    assert final_recipe(str(tmp_path / "own.json"), SEARCH, DIGITS) == own


def test_variants_begin_with_the_recipe_and_fill_their_ranges() -> None:
    recipe = final_recipe(None, SEARCH, DIGITS)
    made = [Recipe.from_json(variant.recipe) for variant in variants(recipe, 33, seed=3)]
    assert made[0] == recipe
    assert [variant.recipe_hash for variant in variants(recipe, 33, seed=3)] == [one.hash for one in made]
    assert len(set(made)) == 33
    ranges = {
        "learning_rate": tuple(factor * recipe.learning_rate for factor in LEARNING_RATE_FACTORS),
        "weight_decay": WEIGHT_DECAYS,
        "drop_path_rate": DROP_PATH_RATES,
    }
    for name, (low, high) in ranges.items():
        values = sorted(getattr(one, name) for one in made[1:])
        middle = (low * high) ** 0.5 if low else high / 2
        assert low * 0.99 <= values[0] and values[-1] <= high * 1.01
        assert 12 <= sum(value < middle for value in values) <= 20, name


def test_more_variants_begin_with_the_same_ones() -> None:
    recipe = final_recipe(None, SEARCH, DIGITS)
    assert variants(recipe, 1, 0) == variants(recipe, 8, 0)[:1]
    assert variants(recipe, 8, 0) == variants(recipe, 16, 0)[:8]
    assert variants(recipe, 8, 0)[1:] != variants(recipe, 8, 1)[1:]


def test_a_batch_has_no_more_images_than_there_are(tmp_path: Path) -> None:
    few = replace(DIGITS, kind="folder", num_train=12)
    assert default_recipe(few).batch_size == 12
    file = written(tmp_path, json.dumps(GOOD | {"batch_size": 13}))
    for text, batch in ((file, 13), ("nano", 64)):
        for read in (lambda text: search_recipe(text, few, 1), lambda text: final_recipe(text, SEARCH, few)):
            with pytest.raises(
                InvalidInputError, match=f"batch_size is {batch}, and the data have 12 images for training"
            ):
                read(text)
    assert final_recipe(None, SEARCH, few).batch_size == 64, "the search's own is what it was"
