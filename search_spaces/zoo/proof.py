"""Proves that an entry of a model zoo holds what its index says."""

import hashlib
import json
from pathlib import Path

from nas.errors import InvalidInputError
from search_spaces.zoo.export import WEIGHTS_SHA256
from search_spaces.zoo.index import INDEX

PROVED = ("config.json", "model.safetensors")
"""Files that decide what the network computes."""


def check_entry(folder: Path) -> None:
    """Refuse an entry whose network is not the one that was exported.

    Args:
        folder: of a model; one without recorded sums, such as one of timm's own, is taken as it is.

    Raises:
        InvalidInputError: if a file has another SHA-256 than was recorded, or is gone, in whose place timm might take
            another one; the message names it.
    """
    for name, recorded in _recorded(folder).items():
        file = folder / name
        if name in PROVED and not file.is_file():
            raise InvalidInputError(f"{file} was exported and is gone; export it again with --overwrite")
        if name in PROVED and hashlib.sha256(file.read_bytes()).hexdigest() != recorded:
            raise InvalidInputError(
                f"{file} is not the file that was exported: its SHA-256 differs from the recorded one; export it again "
                "with --overwrite"
            )


def _recorded(folder: Path) -> dict[str, str]:
    """File name -> SHA-256, by the entry itself and by the index of its zoo; empty where neither is ours."""
    return _by_itself(folder) | _by_index(folder)


def _by_itself(folder: Path) -> dict[str, str]:
    """Sum of the weights alone, also of an entry that was renamed or has left its zoo."""
    try:
        return {"model.safetensors": json.loads((folder / "config.json").read_text(encoding="utf-8"))[WEIGHTS_SHA256]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _by_index(folder: Path) -> dict[str, str]:
    try:
        index = json.loads((folder.parent / INDEX).read_text(encoding="utf-8"))
        sums = {entry["name"]: dict(entry["sha256"]) for entry in index["models"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return sums.get(folder.name, {})
