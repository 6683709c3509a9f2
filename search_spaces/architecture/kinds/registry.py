"""Every mixer by its name, found by its file. Imports no torch.

A new mixer is one file `network/mixers/NAME.py` with its module and one file `architecture/kinds/NAME.py` with a line
`KIND = MixerKind(...)`. Fields, names, costs, drawings and the genes of `hybrid_layout` follow from these.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from search_spaces.architecture import kinds
from search_spaces.architecture.kinds.kind import MixerKind

_NO_MIXERS = ("kind", "registry")


def _find_kinds() -> dict[str, MixerKind]:
    """Name -> kind, by rank. The order of the files does not matter, so a new one disturbs no recorded space."""
    found: dict[str, MixerKind] = {}
    for module in iter_modules(kinds.__path__):
        if module.name not in _NO_MIXERS:
            found[module.name] = import_module(f"{kinds.__name__}.{module.name}").KIND
    owners: dict[int, str] = {}
    for name, kind in found.items():
        other = owners.setdefault(kind.rank, name)
        assert other == name, f"the mixers {other} and {name} have the rank {kind.rank}; give the newer one another"
    return {name: found[name] for name in sorted(found, key=lambda name: found[name].rank)}


KINDS: Mapping[str, MixerKind] = _find_kinds()


def names(role: str) -> tuple[str, ...]:
    """The mixers of a role, in the order of KINDS."""
    return tuple(name for name, kind in KINDS.items() if kind.role == role)
