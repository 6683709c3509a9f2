"""What a submission may say: the options of a search, fenced, and the command that they become."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from hybrid_nas import parts
from hybrid_nas.service.errors import ForbiddenError
from hybrid_nas.service.settings import Settings
from nas.config import SearchConfig
from nas.errors import InvalidInputError, NasError
from nas.files import user_path, write_whole
from nas.records import JSON
from nas.surrogates.proxies import NAMES
from nas.text import json_hash
from search_spaces.registry import known_names
from workers.devices import num_cores, num_gpus
from workers.training.recipes import RECIPES, recipe_of

RECIPE_FIELD = "recipe_json"
Text = Annotated[str, Field(max_length=4_096)]
RecipeValue = bool | int | float | str | list[int | float] | None


class SearchOptions(BaseModel):
    """The options of a search, as the command line has them. What is left out has the command line's default."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"space": "conv_only", "budget": 20, "objectives": "top1,macs", "study": "a"}]},
    )

    space: Text
    """Search space, by name."""
    budget: int
    """Distinct architectures to evaluate in the study."""
    study: Text | None = None
    """Name of the study; SPACE-SCALE-DATA by default."""
    data: Text = "digits"
    """Data to train on."""
    scale: Text = "nano"
    """How large networks are."""
    mixers: Text | None = None
    """What the space may choose among."""
    objectives: Text = "top1,latency_ms"
    """top1 and one cost."""
    latency_target: list[Text] = Field(default=[], max_length=16)
    """What latency is measured on; the first is the objective."""
    workers: int | None = None
    """Concurrent evaluations; this service's share of the host by default."""
    gpus_per_worker: float | None = None
    """Share of a GPU for each worker."""
    sampler: Text = "ehvi"
    """Who proposes architectures."""
    seed: int = 0
    """Seed of the sampler and of every training."""
    max_latency_ms: float | None = None
    """Reject slower candidates before training."""
    max_params: int | None = None
    """Reject larger candidates before training."""
    max_macs: int | None = None
    """Reject costlier candidates before training."""
    recipe: Text | None = None
    """Name of a recipe."""
    recipe_json: dict[str, RecipeValue] | None = None
    """A recipe of one's own, instead of a name."""
    rungs: int = 1
    """Scores in each training."""
    keep: float = 0.5
    """Share of the candidates that goes on from each rung."""
    max_hours: float | None = None
    """Stop after this time."""
    patience: int | None = None
    """Stop when this many evaluations in a row added nothing."""
    trial_timeout_s: float = 3600.0
    """Replace a worker that makes no progress for this long."""
    warm_start: Text = "presets"
    """presets, study:NAME or none."""
    scores: Text | None = None
    """Training-free scores by name, with commas, that may rank architectures as training does."""
    notify: Text | None = None
    """URL that is told the end, a failure and how the front grows; its host is one that the service allows."""

    def given(self) -> JSON:
        """What was given, by name; nothing that is left at its default."""
        return self.model_dump(exclude_defaults=True) | {"space": self.space, "budget": self.budget}


def checked(options: SearchOptions, settings: Settings, *, is_admin: bool) -> SearchConfig:
    """What a search with these options would do, by the code that the command line uses.

    Args:
        options: as submitted.
        settings: of the service.
        is_admin: whether the caller may name a space by its file.

    Raises:
        ForbiddenError: if data or space lie outside the fence.
        InvalidInputError: if an option cannot be used.
    """
    _check_fences(options, settings, is_admin)
    found = arguments(options.given(), settings)
    try:
        return parts.checked(found)
    except InvalidInputError as error:
        if options.recipe_json is None:
            raise
        raise _as_given(error, found["recipe"]) from error


def arguments(given: Mapping[str, Any], settings: Settings) -> JSON:
    """Every option of a search by its name on the command line, the service's own included."""
    values = SearchOptions(**given).model_dump()
    recipe = values.pop(RECIPE_FIELD)
    if recipe is not None:
        if values["recipe"] is not None:
            raise InvalidInputError("recipe and recipe_json are both given; give one of them")
        values["recipe"] = str(_uploaded(recipe, settings))
    if values["workers"] is None:
        values["workers"] = default_workers(settings)
    return values | {
        "storage": settings.storage,
        "artifacts": settings.artifacts,
        "cache": None,
        "ray_address": settings.ray_address,
        "storage_timeout_s": 300.0,
    }


def default_workers(settings: Settings) -> int:
    """A slot's part of the GPUs, or else of the cores, of this host."""
    return max(1, (num_gpus() or num_cores()) // settings.slots)


def words(given: Mapping[str, Any], settings: Settings) -> list[str]:
    """The same as arguments of launch.py. The URL of the database is none: it may hold a password."""
    found: list[str] = []
    for name, value in arguments(given, settings).items():
        if value is None or name in ("storage", "study"):
            continue
        for each in value if isinstance(value, list) else [value]:
            found.append(f"--{name.replace('_', '-')}={each}")
    return found


def _check_fences(options: SearchOptions, settings: Settings, is_admin: bool) -> None:
    check_data(options.data, settings)
    if options.notify is not None and _host(options.notify) not in settings.notify_hosts:
        shown = ", ".join(settings.notify_hosts) or "none is configured (--notify-host)"
        raise ForbiddenError(f"notify names a host that this service does not tell; expected one of: {shown}")
    if options.recipe is not None and options.recipe not in RECIPES:
        raise ForbiddenError(
            f"recipe {options.recipe!r} is no name; expected one of {', '.join(RECIPES)}, or your own as recipe_json"
        )
    if options.space not in known_names() and not (is_admin or settings.own_spaces):
        raise ForbiddenError(
            f"space {options.space!r} is none that is installed here; expected one of {', '.join(known_names())}; an "
            "administrator may allow files"
        )
    if options.scores is not None:
        _check_scores(options.scores)


def _check_scores(text: str) -> None:
    """Refuse a file without a look at it: nothing says whether it is there."""
    for word in text.split(","):
        if word.strip() not in NAMES:
            raise ForbiddenError(
                f"scores has {word.strip()!r:.200}, which is no training-free score; expected some of "
                f"{', '.join(NAMES)}. A file is not taken, as it would be one of this service's host: what an earlier "
                "study found is named by warm_start"
            )


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def check_data(text: str, settings: Settings) -> None:
    """Refuse data outside the folders of the service; links are followed first.

    Raises:
        ForbiddenError: if they lie elsewhere. It says the same for what is there and for what is not.
    """
    path = text.partition(":")[2]
    if not path:
        return
    try:
        lies = user_path(path).resolve()
    except (NasError, OSError, RuntimeError):
        lies = Path("/")
    if not any(lies.is_relative_to(folder.resolve()) for folder in settings.data_folders):
        shown = ", ".join(map(str, settings.data_folders)) or "none is configured (--data-folder)"
        raise ForbiddenError(f"data {text!r} lie outside the folders of this service; expected one below: {shown}")


def _uploaded(recipe: JSON, settings: Settings) -> Path:
    """The file of a recipe that came with a submission, by its contents."""
    path = settings.folder / "recipes" / f"{json_hash(recipe)}.json"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(recipe).encode())
    try:
        recipe_of(str(path))
    except InvalidInputError as error:
        path.unlink()
        raise _as_given(error, str(path)) from error
    return path


def _as_given(error: InvalidInputError, path: str) -> InvalidInputError:
    """The same, in the words of somebody who sent a recipe and knows no file."""
    return InvalidInputError(re.sub(rf"(recipe )?['\"]?{re.escape(path)}['\"]?", RECIPE_FIELD, str(error)))
