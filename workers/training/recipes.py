"""How finalists are trained: a longer recipe than the search's, and its variants for the tuning."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scipy.stats import qmc

from nas.errors import InvalidInputError
from nas.finalists.plan import Variant
from nas.records import JSON
from workers.data.source import DataSource
from workers.recipe import RECIPES, Recipe, named_recipe
from workers.training.distillation import load_teacher

TIMES = 8
"""Steps of a full training, in trainings of the search."""
RUNGS = 4
"""Scores of a full training: after an eighth, a quarter, half and all of it."""
LEARNING_RATE_FACTORS = 0.25, 2.0
"""Of the recipe's own; sampled evenly in the logarithm. A longer training rarely wants a higher one."""
WEIGHT_DECAYS = 0.005, 0.5
"""Sampled evenly in the logarithm."""
DROP_PATH_RATES = 0.0, 0.2


def final_recipe(text: str | None, search_recipe: JSON, source: DataSource, teacher: str | None = None) -> Recipe:
    """The recipe that `--recipe` and `--teacher` mean.

    Args:
        text: a JSON file with the fields of workers/recipe.py, taken as it is; or the name of a recipe, which gets
            RUNGS rungs; None for the search's own, TIMES as long, with RUNGS rungs.
        source: the study's data.
        teacher: what workers.training.distillation.load_teacher takes; None for none.

    Raises:
        InvalidInputError: if there is neither such a name nor such a file, or the file is no recipe or speaks of a
            teacher in vain; if the data have smaller images than the recipe, or the teacher cannot teach them.
    """
    recipe = _read(text, search_recipe)
    size = recipe.training_size(source.image_size)
    return recipe.taught_by(None if teacher is None else load_teacher(teacher, source, size).identity)


def _read(text: str | None, search_recipe: JSON) -> Recipe:
    if text is None:
        recipe = Recipe.from_json(search_recipe)
        return replace(recipe, rungs=(TIMES * recipe.steps,)).with_rungs(RUNGS)
    path = Path(text).expanduser()
    if text in RECIPES or not (path.suffix == ".json" or path.exists()):
        return named_recipe(text).with_rungs(RUNGS)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise InvalidInputError(f"--recipe {text}: expected a JSON object with the fields of a recipe")
        return Recipe.from_json(values)
    except OSError as error:
        raise InvalidInputError(
            f"--recipe {text} cannot be read ({error.strerror}); give a JSON file or one of {', '.join(RECIPES)}"
        ) from error
    except (ValueError, TypeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"--recipe {text} is no recipe in JSON ({error}); see workers/recipe.py for its fields"
        ) from error


def variants(recipe: Recipe, count: int, seed: int) -> Sequence[Variant]:
    """The recipe itself, and count - 1 variants of its learning rate, weight decay and drop path, spread evenly over
    their ranges.

    More of them begin with the same ones. Source: the scrambled Halton sequence of scipy.stats.qmc.

    Raises:
        InvalidInputError: if the recipe with a higher learning rate is out of range.
    """
    low, high = LEARNING_RATE_FACTORS
    made = [recipe]
    for rate, decay, drop in qmc.Halton(d=3, rng=seed).random(count - 1) if count > 1 else ():
        made.append(
            replace(
                recipe,
                learning_rate=_rounded(recipe.learning_rate * low * (high / low) ** float(rate)),
                weight_decay=_rounded(WEIGHT_DECAYS[0] * (WEIGHT_DECAYS[1] / WEIGHT_DECAYS[0]) ** float(decay)),
                drop_path_rate=round(DROP_PATH_RATES[0] + (DROP_PATH_RATES[1] - DROP_PATH_RATES[0]) * float(drop), 3),
            )
        )
    return [Variant(one.to_json(), one.hash) for one in made]


def _rounded(value: float) -> float:
    """Three significant digits: what a person reads is what was used."""
    return float(f"{value:.3g}")
