"""Every mixer by its name, found by its file. Imports no torch.

A new mixer is one file `network/mixers/NAME.py` with its module and one file `architecture/kinds/NAME.py` with a line
`KIND = MixerKind(...)`. Fields, names, costs, drawings and the genes of `hybrid_layout` follow from these.
"""

from collections.abc import Mapping

from search_spaces.architecture import kinds
from search_spaces.architecture.by_file import by_rank, find_kinds
from search_spaces.architecture.kinds.kind import MixerKind


def find_mixers() -> dict[str, MixerKind]:
    """Name -> kind, by rank."""
    return by_rank(find_kinds(kinds))


KINDS: Mapping[str, MixerKind] = find_mixers()


def names(role: str) -> tuple[str, ...]:
    """The mixers of a role, in the order of KINDS."""
    return tuple(name for name, kind in KINDS.items() if kind.role == role)
