"""Every head by its name, found by its file. Imports no torch."""

from collections.abc import Mapping

from search_spaces.architecture import heads
from search_spaces.architecture.by_file import find_kinds
from search_spaces.architecture.heads.kind import HeadKind

HEADS: Mapping[str, HeadKind] = find_kinds(heads)
