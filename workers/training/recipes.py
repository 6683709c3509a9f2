"""The recipes that a person may name, and the one reader of them: for searches, finalists and audits.

What one of the three accepts the others accept, and all refuse in the same words. Only how often a training is scored
is their own affair.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import get_args

import scipy

from nas.errors import InvalidInputError
from nas.files import user_file
from nas.finalists.plan import Variant
from nas.records import JSON
from workers.data.registry import KINDS
from workers.data.source import DataSource
from workers.recipe import RUNG_SCHEDULE, SCHEDULES, Recipe

RECIPES: Mapping[str, Recipe] = {
    "nano": Recipe(rungs=(96,), batch_size=64, learning_rate=6e-3),
    "nano-rungs": Recipe(
        rungs=(512,), batch_size=16, learning_rate=3e-3, warmup=0.1, schedule=RUNG_SCHEDULE, ema_decay=0.95
    ),
    "cifar": Recipe(rungs=(3_510,), batch_size=128, learning_rate=2e-3, max_shift=4, horizontal_flip=True),
    "imagenet-proxy": Recipe(
        rungs=(20_000,), batch_size=512, learning_rate=2e-3, warmup=0.1, horizontal_flip=True, min_crop_area=0.35
    ),
    "imagenet-full": Recipe(
        rungs=(750_600,),
        batch_size=512,
        learning_rate=5e-4,
        warmup=20 / 300,
        clip_grad_norm=5.0,
        drop_path_rate=0.1,
        horizontal_flip=True,
        min_crop_area=0.08,
        mixup=0.8,
        cutmix=1.0,
        ema_decay=0.9999,
    ),
}
"""Named recipes. `nano` was chosen by measurement (docs/measurements/proxy.md), and so was `nano-rungs`, for trainings
on the same data that are stopped at rungs (docs/measurements/search.md); `cifar` is ten epochs of the 45,000 images
left after the hold-out.

`imagenet-full` is 300 epochs with the optimizer, schedule, label smoothing, mixup and cutmix that GroupMixFormer
publishes; they come from Touvron et al., "Training data-efficient image transformers & distillation through attention".
It differs in three things: a moving average is kept, the schedule falls to zero, and RandAugment, colour jitter and
random erasing are left out."""
NOMINAL_IMAGES: Mapping[str, int] = {"cifar": 45_000, "imagenet-proxy": 1_281_167}
"""Training images of the set that a recipe is made for."""
MANY_RUNGS = 3
"""Rungs from which on a search trains by the kind of data's own recipe for that: the first score of the default one
would be chance."""
TIMES = 8
"""Steps of a full training, in trainings of the search."""
RUNGS = 4
"""Scores of a full training: after an eighth, a quarter, half and all of it."""
LEARNING_RATE_FACTORS = 0.25, 2.0
"""Range of the learning rate of variants, in those of the recipe; sampled evenly in the logarithm. A longer training
rarely wants a higher one."""
WEIGHT_DECAYS = 0.005, 0.5
"""Range of the weight decay of variants; sampled evenly in the logarithm."""
DROP_PATH_RATES = 0.0, 0.2
"""Range of the drop path rate of variants."""
_KINDS: Mapping[object, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def named_recipe(name: str) -> Recipe:
    """Raises InvalidInputError for an unknown name, listing the known ones."""
    if name not in RECIPES:
        raise InvalidInputError(
            f"recipe {name!r} is unknown; expected one of {', '.join(RECIPES)}, or a file that ends in .json"
        )
    return RECIPES[name]


def recipe_of(text: str) -> Recipe:
    """The recipe that a person names: one of RECIPES, or a JSON file with the fields of Recipe.

    Raises:
        InvalidInputError: for an unknown name, and for a file that cannot be read or is no recipe.
    """
    if not text.endswith(".json"):
        return named_recipe(text)
    values = _read_object(text)
    for field in fields(Recipe):
        if field.name in values and not _fits(values[field.name], field.type):
            given = json.dumps(values[field.name])
            expected = _KINDS.get(field.type, "a list of numbers")
            raise InvalidInputError(
                f"recipe {text!r}: {field.name} is {given}, expected {expected}; see workers/recipe.py"
            )
    return Recipe.from_json(values)


def _read_object(text: str) -> JSON:
    path = user_file(text)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(
            f"recipe {text!r} cannot be read ({error.strerror}); give a JSON file, or one of {', '.join(RECIPES)}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"recipe {text!r} is no JSON ({error}); expected the fields of Recipe in workers/recipe.py"
        ) from error
    if not isinstance(values, dict):
        raise InvalidInputError(
            f"recipe {text!r} holds a {type(values).__name__}; expected an object with the fields of Recipe"
        )
    return values


def _fits(value: object, kind: object) -> bool:
    """Whether a JSON value can stand in a field of this type; Python takes true for 1."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(kind, type) and kind in _KINDS:
        return type(value) is kind
    return isinstance(value, list) and all(_fits(element, get_args(kind)[0]) for element in value)


def search_recipe(text: str | None, data: DataSource, num_rungs: int) -> Recipe:
    """How a search trains: by the recipe that a person names, or by the default one, scored `num_rungs` times.

    Raises:
        InvalidInputError: if the recipe cannot be read or used without a teacher, gives rungs of its own, or is too
            short for `num_rungs`; if the data have smaller images than it, or fewer than its batches.
    """
    if text is None:
        return default_recipe(data, num_rungs).with_rungs(num_rungs)
    recipe = _without_teacher(recipe_of(text), data.image_size)
    _require_images(text, recipe, data)
    if len(recipe.rungs) > 1:
        raise InvalidInputError(
            f"recipe {text!r} gives {len(recipe.rungs)} rungs; expected one, the steps of the whole training, as "
            "--rungs says how often a search scores it"
        )
    return recipe.with_rungs(num_rungs)


def _require_images(text: str, recipe: Recipe, data: DataSource) -> None:
    """Raises InvalidInputError if a batch of a recipe that a person named has more images than there are."""
    if recipe.batch_size > data.num_train:
        raise InvalidInputError(
            f"recipe {text!r}: batch_size is {recipe.batch_size}, and the data have {data.num_train:,} images for "
            "training; give a JSON file with that or less"
        )


def default_recipe(data: DataSource, num_rungs: int = 1) -> Recipe:
    """The recipe of a search that names none; smaller sets than the one it is made for get fewer steps."""
    kind = KINDS[data.kind]
    name = kind.recipe
    if num_rungs >= MANY_RUNGS and kind.recipe_of_many_rungs is not None:
        name = kind.recipe_of_many_rungs
    return _sized(RECIPES[name], data.num_train, NOMINAL_IMAGES[name]) if name in NOMINAL_IMAGES else RECIPES[name]


def _sized(recipe: Recipe, num_train: int, nominal: int) -> Recipe:
    """The same number of epochs on a smaller set, but at least the steps of the nano recipe.

    Small sets get smaller batches (a power of two from 16 up), so that an epoch has 32 steps where it can.
    """
    if num_train >= nominal:
        return recipe
    batch_size = min(recipe.batch_size, num_train, max(16, 2 ** int(math.log2(max(1.0, num_train / 32)))))
    images = recipe.steps * recipe.batch_size * num_train / nominal
    return replace(recipe, rungs=(max(RECIPES["nano"].steps, round(images / batch_size)),), batch_size=batch_size)


def final_recipe(text: str | None, search_recipe: JSON, source: DataSource, teacher: str | None = None) -> Recipe:
    """How finalists are trained: the recipe that `--recipe` and `--teacher` of finalize mean.

    Args:
        text: the name of a recipe, which gets RUNGS rungs; or a JSON file, whose rungs are taken as they are; None for
            the search's own, TIMES as long, with RUNGS rungs.
        source: the study's data.
        teacher: what workers.training.distillation.load_teacher takes; None for none.

    Raises:
        InvalidInputError: if the recipe cannot be read or speaks of a teacher in vain; if the data have smaller images
            than it or fewer than its batches, or the teacher cannot teach them.
    """
    if text is None:
        recipe = _longer(Recipe.from_json(search_recipe), TIMES).with_rungs(RUNGS)
    elif text in RECIPES:
        recipe = RECIPES[text].with_rungs(RUNGS)
    else:
        recipe = recipe_of(text)
    if text is not None:
        _require_images(text, recipe, source)
    if teacher is None:
        return _without_teacher(recipe, source.image_size)
    from workers.training.distillation import load_teacher  # here, because timm takes seconds and a search has none

    return recipe.taught_by(load_teacher(teacher, source, recipe.training_size(source.image_size)).identity)


def audit_recipe(text: str | None, times: int | None, searched: Recipe, image_size: int) -> Recipe:
    """How the sample of an audit is trained: scored once, at its end.

    Args:
        text: the name of a recipe or a JSON file; None for the search's own made longer, with the schedule of a
            training that nothing stops.
        times: how many times as long; TIMES by default.
        image_size: side of the data's images, pixels.

    Raises:
        InvalidInputError: if the recipe cannot be read or used without a teacher, or the data have smaller images.
    """
    if text is None:
        return replace(_longer(searched, times or TIMES), schedule=SCHEDULES[0])
    recipe = _without_teacher(recipe_of(text), image_size)
    return replace(recipe, rungs=(recipe.steps,))


def _longer(recipe: Recipe, times: int) -> Recipe:
    return replace(recipe, rungs=(times * recipe.steps,))


def _without_teacher(recipe: Recipe, image_size: int) -> Recipe:
    """The recipe, if images of this side can be trained on by it and nobody has to teach.

    Raises:
        InvalidInputError: if the images are smaller, or the recipe speaks of a teacher.
    """
    recipe.training_size(image_size)
    return recipe.taught_by(None)


def variants(recipe: Recipe, count: int, seed: int) -> Sequence[Variant]:
    """The recipe itself, and count - 1 variants of its learning rate, weight decay and drop path, spread evenly over
    their ranges.

    More of them begin with the same ones. Source: the scrambled Halton sequence of scipy.stats.qmc.

    Raises:
        InvalidInputError: if the recipe with a higher learning rate is out of range.
    """
    low, high = LEARNING_RATE_FACTORS
    made = [recipe]
    for rate, decay, drop in scipy.stats.qmc.Halton(d=3, rng=seed).random(count - 1) if count > 1 else ():
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
