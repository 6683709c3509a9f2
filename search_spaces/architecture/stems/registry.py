"""Every stem by its name, found by its file. Imports no torch."""

from collections.abc import Mapping

from search_spaces.architecture import stems
from search_spaces.architecture.by_file import find_kinds
from search_spaces.architecture.stems.kind import StemKind

STEMS: Mapping[str, StemKind] = find_kinds(stems)
