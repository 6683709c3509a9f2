"""MOAT's head."""

from search_spaces.architecture.heads.kind import HeadKind
from search_spaces.architecture.tally import norm

KIND = HeadKind(costs=lambda width, positions: norm("layer", width, 1))
