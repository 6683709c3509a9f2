"""Recipes of finalists: longer than the search's, and spread around it."""

import json
from pathlib import Path

import pytest

from nas.errors import InvalidInputError
from workers.data.digits import open_digits
from workers.recipe import RECIPES, Recipe
from workers.training.recipes import DROP_PATH_RATES, LEARNING_RATE_FACTORS, WEIGHT_DECAYS, final_recipe, variants

SEARCH = RECIPES["nano"].to_json()
DIGITS = open_digits()


def test_by_default_a_finalist_is_trained_eight_times_as_long_as_in_the_search() -> None:
    recipe = final_recipe(None, RECIPES["nano"].with_rungs(3).to_json(), DIGITS)
    assert recipe.rungs == (96, 192, 384, 768)
    assert (recipe.batch_size, recipe.learning_rate) == (RECIPES["nano"].batch_size, RECIPES["nano"].learning_rate)


def test_a_name_is_scored_four_times_and_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    assert final_recipe("cifar", SEARCH, DIGITS).rungs == (438, 877, 1755, 3510)
    own = Recipe(rungs=(5, 7), batch_size=8, learning_rate=0.1)
    (tmp_path / "own.json").write_text(json.dumps(own.to_json()))
    assert final_recipe(str(tmp_path / "own.json"), SEARCH, DIGITS) == own


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"own.json cannot be read \(No such file or directory\); give a JSON file or one of nano"),
        ("{", "is no recipe in JSON"),
        ("[1]", "expected a JSON object"),
        ('{"rungs": [8]}', "field 'batch_size' is missing"),
        ('{"rungs": [8], "batch_size": 4, "learning_rate": 0.1, "lr": 1}', "unknown field 'lr'"),
        ('{"rungs": [8], "batch_size": 4, "learning_rate": "fast"}', "is no recipe in JSON"),
        ('{"rungs": 8, "batch_size": 4, "learning_rate": 0.1}', "is no recipe in JSON"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "own.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        final_recipe(str(path), SEARCH, DIGITS)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="recipe 'best' is unknown; expected one of nano, nano-rungs, cifar"):
        final_recipe("best", SEARCH, DIGITS)


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


def test_images_larger_than_the_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"rungs": [8], "batch_size": 4, "learning_rate": 0.1, "image_size": 224}')
    with pytest.raises(
        InvalidInputError, match="the recipe trains on images of 224 pixels, the data have 32; give that or less"
    ):
        final_recipe(str(tmp_path / "own.json"), SEARCH, DIGITS)
