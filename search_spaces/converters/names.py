"""What converters of published weights share: names below a place of the network, and 1x1 convolutions."""

import re
from collections.abc import Sequence

from search_spaces.checkpoints import Weights

Names = Sequence[tuple[str, str]]
"""Beginning of a published name -> of ours."""


def under(pattern: str, place: str, names: Names) -> Names:
    """Rows for `renamed`: the plain names, behind a pattern of the published place and the place that is ours."""
    return [(pattern + re.escape(published), place + ours) for published, ours in names]


def as_linear(weights: Weights, layers: str) -> Weights:
    """1x1 convolutions, (out, in, 1, 1), as linear layers, (out, in).

    Args:
        layers: pattern of the last part of their names, before `.weight`.
    """
    ending = re.compile(rf"(^|\.)({layers})\.weight$")
    return {name: value.flatten(1) if ending.search(name) else value for name, value in weights.items()}
