"""DaViT (arXiv 2204.03645): timm's names. A published block is two blocks of ours, attention and feed-forward."""

import re
from collections.abc import Mapping
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.names import Names, under

FIRST: Names = (("cpe1.proj.", "position.conv."), ("norm1.", "norm1."), ("attn.", "mixer."))
SECOND: Names = (("cpe2.proj.", "position.conv."), ("norm2.", "norm2."), ("mlp.", "ffn."))
ENDS: Names = (("stem.conv.", "stem.0."), ("stem.norm.", "stem.1."), ("head.", "head."))
DOWNSAMPLE: Names = (("norm.", "0."), ("conv.", "1."))


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of timm's DaViT for a model of ours.

    Raises:
        InvalidInputError: naming the entries that no DaViT has.
    """
    pair = r"stages\.(\d)\.blocks\.(\d+)\.([01])\."
    names = [*under("", "", ENDS), *under(r"stages\.(\d)\.downsample\.", r"stages.\1.downsample.", DOWNSAMPLE)]
    names += under(pair, r"stages.\1.blocks.\2-\3-0.", FIRST)
    names += under(pair, r"stages.\1.blocks.\2-\3-1.", SECOND)
    weights = renamed(unwrapped(state_dict), names)
    return {re.sub(r"(\d+)-([01])-([01])", _number, name): value for name, value in weights.items()}


def convert_block(published: Weights) -> Weights:
    """The entries of one published block, spatial or of channels, for two blocks of ours in a row.

    Raises:
        InvalidInputError: naming the entries that no block of DaViT has.
    """
    return renamed(published, [*under("", "0.", FIRST), *under("", "1.", SECOND)])


def _number(place: re.Match[str]) -> str:
    """Pair, which of the two, and which half of it -> number of the block."""
    pair, which, half = place.groups()
    return str(4 * int(pair) + 2 * int(which) + int(half))
