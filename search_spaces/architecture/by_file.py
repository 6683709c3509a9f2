"""Kinds of parts, found by their files. Imports no torch."""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

HELPERS = ("kind", "registry")
"""Modules of a folder that are no kinds."""


def find_kinds(folder: ModuleType) -> dict[str, Any]:
    """Name of each file in the folder -> its KIND, by the names' order."""
    names = sorted(module.name for module in iter_modules(folder.__path__))
    return {name: import_module(f"{folder.__name__}.{name}").KIND for name in names if name not in HELPERS}


def by_rank(kinds: dict[str, Any]) -> dict[str, Any]:
    """The same by rank. The order of the files does not matter, so a new one disturbs no recorded space."""
    owners: dict[int, str] = {}
    for name, kind in kinds.items():
        other = owners.setdefault(kind.rank, name)
        assert other == name, f"{other} and {name} have the rank {kind.rank}; give the newer one another"
    return {name: kinds[name] for name in sorted(kinds, key=lambda name: kinds[name].rank)}
