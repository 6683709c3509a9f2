"""What converters of networks made of numbered blocks share."""

import re
from collections.abc import Mapping

import torch

from search_spaces.checkpoints import Weights

Place = tuple[int, int]
"""Stage and block, both counted from 0."""


def by_block(published: Weights, pattern: str) -> tuple[Mapping[Place, Weights], Weights]:
    """The entries of each block without what stands before their names, and the entries that belong to none.

    Args:
        pattern: beginning of a block's entries, with one group for the stage and one for the block.
    """
    blocks: dict[Place, Weights] = {}
    rest = {}
    for name, value in published.items():
        match = re.match(pattern, name)
        if match is None:
            rest[name] = value
        else:
            blocks.setdefault((int(match[1]), int(match[2])), {})[name[match.end() :]] = value
    return blocks, rest


def under(place: str, weights: Weights) -> Weights:
    """The entries with `place` and a dot before their names."""
    return {f"{place}.{name}": value for name, value in weights.items()}


def split_names(weights: Weights, beginnings: tuple[str, ...]) -> tuple[Weights, Weights]:
    """Entries whose names begin so, and all others."""
    first = {name: value for name, value in weights.items() if name.startswith(beginnings)}
    return first, {name: value for name, value in weights.items() if name not in first}


def as_linear(value: torch.Tensor) -> torch.Tensor:
    """The weight of a 1x1 convolution, (out, in, 1, 1), as that of a linear layer; others as they are."""
    return value.flatten(1) if value.dim() == 4 else value
