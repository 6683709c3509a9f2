"""What a zoo lists, and which names its entries can have. Needs no torch."""

import json
import re
from pathlib import Path

from nas.errors import InvalidInputError
from nas.records import JSON

INDEX = "index.json"
MAX_NAME = 128
"""Characters of a model's name."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def require_name(name: str) -> None:
    """Refuse a name that no entry can have.

    Raises:
        InvalidInputError: unless it is 1 to MAX_NAME letters, digits, - and _, the first a letter or a digit.
    """
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"zoo name {name!r} cannot be used; give 1 to {MAX_NAME} letters, digits, - or _, beginning with a "
            "letter or digit"
        )


def read_index(zoo: Path) -> list[JSON]:
    """The entries that a zoo lists; none where there is no zoo.

    Raises:
        InvalidInputError: if the file is not the index of a zoo.
    """
    path = zoo / INDEX
    try:
        entries: list[JSON] = json.loads(path.read_text(encoding="utf-8"))["models"]
        return [entry for entry in entries if entry["arch_hash"] and (zoo / entry["name"]).is_dir()]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"{path} is not the index of a zoo; give another --zoo, or move that file away"
        ) from error
