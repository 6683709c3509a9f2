"""CoAtNet's head with a hidden layer."""

from search_spaces.architecture.heads.kind import HeadKind
from search_spaces.architecture.tally import linear, norm, total

KIND = HeadKind(costs=lambda width, positions: total(norm("layer", width, 1), linear(width, width, 1)))
