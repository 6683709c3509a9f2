"""L2ViT (arXiv 2501.16182): the names of the authors' state_dicts. A published block is two blocks of ours.

The names within blocks and downsamplings are known; those within the stem, and of the last norm and the classifier, are
taken as their pattern has them. A checkpoint with others is refused.
"""

import re
from collections.abc import Mapping
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.names import Names, under

ATTENTION: Names = (("qkv.", "qkv."), ("proj.", "proj."), ("temperature", "temperature"))
CONCENTRATION: Names = (("conv1.", "conv1."), ("bn.", "norm."), ("conv2.", "conv2."))
FIRST: Names = (
    ("cpe.0.proj.", "position.conv."),
    ("norm1.", "norm1."),
    *((f"attn.{theirs}", f"mixer.{ours}") for theirs, ours in ATTENTION),
)
SECOND: Names = (
    ("cpe.1.proj.", "position.conv."),
    ("norm3.", "norm1."),
    *((f"local_mp.{theirs}", f"mixer.{ours}") for theirs, ours in CONCENTRATION),
    ("norm2.", "norm2."),
    ("mlp.", "ffn."),
)


ENDS: Names = (
    ("downsample_layers.0.proj.", "stem."),
    ("downsample_layers.0.norm.", "stem.5."),
    ("norm.", "stages.3.norm."),
    ("head.", "head.fc."),
)
DOWNSAMPLE: Names = (("norm.", "0."), ("proj.", "1."))


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a published L2ViT for a model of ours.

    Raises:
        InvalidInputError: naming the entries that no L2ViT has.
    """
    block = r"stages\.(\d)\.(\d+)\."
    names = [*under("", "", ENDS), *under(r"downsample_layers\.(\d)\.", r"stages.\1.downsample.", DOWNSAMPLE)]
    names += under(block, r"stages.\1.blocks.\2-0.", FIRST)
    names += under(block, r"stages.\1.blocks.\2-1.", SECOND)
    weights = renamed(unwrapped(state_dict), names)
    return {re.sub(r"(\d+)-([01])", _number, name): value for name, value in weights.items()}


def _number(place: re.Match[str]) -> str:
    """Number of a published block and which half of it -> number of ours."""
    return str(2 * int(place[1]) + int(place[2]))


def convert_attention(published: Weights) -> Weights:
    """The entries of one published linear attention for a mixer of ours.

    Raises:
        InvalidInputError: naming the entries that no attention of L2ViT has.
    """
    return renamed(published, under("", "", ATTENTION))


def convert_concentration(published: Weights) -> Weights:
    """The entries of one published local concentration for a mixer of ours.

    Raises:
        InvalidInputError: naming the entries that no local concentration has.
    """
    return renamed(published, under("", "", CONCENTRATION))


def convert_block(published: Weights) -> Weights:
    """The entries of one published block for two blocks of ours in a row.

    Raises:
        InvalidInputError: naming the entries that no block of L2ViT has.
    """
    return renamed(published, [*under("", "0.", FIRST), *under("", "1.", SECOND)])
