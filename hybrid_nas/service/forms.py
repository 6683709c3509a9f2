"""The form of a new search: a field for every option that a submission may have."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hybrid_nas.service.options import SearchOptions
from hybrid_nas.service.settings import Settings
from nas.config import COST_OBJECTIVES
from nas.records import JSON
from nas.samplers.registry import SAMPLERS
from search_spaces.registry import known_names
from search_spaces.scales import SCALES
from workers.training.recipes import RECIPES

KINDS = {"integer": "integer", "number": "number", "string": "text", "array": "lines", "object": "json"}
"""Type in the JSON schema -> how it is typed in."""
MAIN = ("space", "study", "budget", "data", "scale", "objectives")
"""Fields that are seen at once; the others have defaults that suit most searches."""


@dataclass(frozen=True, slots=True)
class FormField:
    """One option."""

    name: str
    label: str
    help: str
    kind: str
    """integer, number, text, lines or json."""
    choices: Sequence[str]
    """Values there are; empty where any may be given."""
    is_required: bool
    value: str
    """What stands in it at first."""

    @property
    def is_main(self) -> bool:
        return self.name in MAIN


def form_fields(settings: Settings, given: Mapping[str, Any]) -> list[FormField]:
    """Every field, the main ones first.

    Args:
        settings: of the service.
        given: values that stand in them at first, by option.
    """
    schema = SearchOptions.model_json_schema()
    found = list(_fields(schema, settings, given))
    return sorted(found, key=lambda field: MAIN.index(field.name) if field.is_main else len(MAIN))


def _fields(schema: JSON, settings: Settings, given: Mapping[str, Any]) -> Iterator[FormField]:
    choices: dict[str, Sequence[str]] = {
        "space": known_names(),
        "scale": list(SCALES),
        "objectives": [f"top1,{cost}" for cost in COST_OBJECTIVES],
        "sampler": list(SAMPLERS),
        "recipe": ["", *RECIPES],
    }
    folders = ", ".join(map(str, settings.data_folders))
    more = {
        "space": f"Here are {', '.join(known_names())}.",
        "data": f"Also folder:DIR, cifar10:DIR, cifar100:DIR or beton:FILE below {folders}." if folders else "",
    }
    for name, described in schema["properties"].items():
        value = given.get(name, described.get("default"))
        yield FormField(
            name=name,
            label=name.replace("_", " ").capitalize(),
            help=f"{described['description']} {more.get(name, '')}".strip(),
            kind=KINDS[_type(described)],
            choices=choices.get(name, ()),
            is_required=name in schema["required"],
            value=_text(value),
        )


def _type(described: JSON) -> str:
    """The type of an option that may also be left out."""
    kinds = [each["type"] for each in described.get("anyOf", [described])]
    return str(next(kind for kind in kinds if kind != "null"))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return json.dumps(value, indent=1) if isinstance(value, dict) else str(value)
