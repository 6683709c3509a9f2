"""Every feed-forward by its name, found by its file. Imports no torch."""

from collections.abc import Mapping

from search_spaces.architecture import ffns
from search_spaces.architecture.by_file import by_rank, find_kinds
from search_spaces.architecture.ffns.kind import FfnKind

FFNS: Mapping[str, FfnKind] = by_rank(find_kinds(ffns))
