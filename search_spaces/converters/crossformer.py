"""CrossFormer (arXiv 2108.00154): the names of the authors' models/crossformer.py."""

import re
from collections.abc import Mapping
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.names import Names, under

MIXER: Names = (
    ("qkv.", "qkv."),
    ("pos.pos_proj.", "bias.proj."),
    ("pos.pos1.", "bias.layers.0."),
    ("pos.pos2.", "bias.layers.1."),
    ("pos.pos3.", "bias.layers.2."),
    ("proj.", "proj."),
)
BLOCK: Names = (
    ("norm", "norm"),
    *((f"attn.{published}", f"mixer.{ours}") for published, ours in MIXER),
    ("mlp.", "ffn."),
)
ENDS: Names = (
    ("patch_embed.projs.", "stem.convs."),
    ("patch_embed.norm.", "stem.norm."),
    ("norm.", "stages.3.norm."),
    ("head.", "head.fc."),
)
DOWNSAMPLE: Names = (("reductions.", "convs."), ("norm.", "norm."))
OFFSETS = r"attn\.(biases|relative_position_index|attn_mask)$"
"""Entries that hold numbers of offsets, which follow from the sizes."""


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a published CrossFormer for a model of ours.

    Raises:
        InvalidInputError: naming the entries that no CrossFormer has.
    """
    published = unwrapped(state_dict)
    learned = {name: value for name, value in published.items() if not re.search(OFFSETS, name)}
    names = [*under("", "", ENDS), *under(r"layers\.(\d)\.blocks\.(\d+)\.", r"stages.\1.blocks.\2.", BLOCK)]
    for stage in range(3):
        names += under(rf"layers\.{stage}\.downsample\.", f"stages.{stage + 1}.downsample.", DOWNSAMPLE)
    return renamed(learned, names)


def convert_mixer(published: Weights) -> Weights:
    """The entries of one published attention for a mixer of ours.

    Raises:
        InvalidInputError: naming the entries that no attention of CrossFormer has.
    """
    return renamed(published, under("", "", MIXER))
