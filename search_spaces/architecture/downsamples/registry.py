"""Every downsampling by its name, found by its file. Imports no torch."""

from collections.abc import Mapping

from search_spaces.architecture import downsamples
from search_spaces.architecture.by_file import find_kinds
from search_spaces.architecture.downsamples.kind import DownsampleKind

DOWNSAMPLES: Mapping[str, DownsampleKind] = find_kinds(downsamples)
