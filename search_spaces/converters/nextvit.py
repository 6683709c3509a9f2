"""timm's Next-ViT under our names.

A block of Next-ViT may change the width, so it may lie in up to three of our stages.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.names import Names, as_linear, under

ATTENTION: Names = (("q.", "q."), ("k.", "k."), ("v.", "v."), ("proj.", "proj."), ("norm.", "pool.norm."))
"""The layers `k` and `v` keep their names, see `join_keys_and_values`."""
CONVOLUTION: Names = (("group_conv3x3.", "heads.conv."), ("norm.", "heads.norm."), ("projection.", "proj."))
_FEED_FORWARD = r"ffn\.fc[12]"


def conv_block_names(theirs: str, embed: str, ours: str) -> Names:
    """A convolution block: its change of width, and the rest."""
    return (
        (rf"{theirs}patch_embed\.", f"{embed}1."),
        *under(rf"{theirs}mhca\.", f"{ours}mixer.", CONVOLUTION),
        (rf"{theirs}norm\.", f"{ours}norm2."),
        (rf"{theirs}mlp\.", f"{ours}ffn."),
    )


def transformer_block_names(theirs: str, embed: str, attention: str, widen: str, ffn: str) -> Names:
    """A transformer block: its change of width, attention, more channels, feed-forward."""
    return (
        (rf"{theirs}patch_embed\.", f"{embed}1."),
        (rf"{theirs}norm1\.", f"{attention}norm1."),
        *under(rf"{theirs}e_mhsa\.", f"{attention}mixer.", ATTENTION),
        (rf"{theirs}projection\.", f"{widen}proj."),
        *under(rf"{theirs}mhca\.", f"{widen}mhca.", CONVOLUTION),
        (rf"{theirs}norm2\.", f"{ffn}norm2."),
        (rf"{theirs}mlp\.", f"{ffn}ffn."),
    )


def convert_attention(published: Weights) -> Weights:
    """The entries of one published attention for our `pooled`."""
    return join_keys_and_values(renamed(published, under("", "", ATTENTION)))


def convert_conv_block(published: Weights) -> Weights:
    """The entries of one published convolution block: `patch_embed.` its change of width, `block.` the rest."""
    return as_linear(renamed(published, conv_block_names("", "patch_embed.", "block.")), _FEED_FORWARD)


def convert_transformer_block(published: Weights) -> Weights:
    """The entries of one published transformer block: its change of width, attention, more channels, feed-forward."""
    names = transformer_block_names("", "patch_embed.", "attention.", "widen.", "ffn.")
    return join_keys_and_values(as_linear(renamed(published, names), _FEED_FORWARD))


def join_keys_and_values(weights: Weights) -> Weights:
    """Each pair of layers `k` and `v` as the one that it is here, `kv`."""
    joined = {}
    for name, value in weights.items():
        layer = re.fullmatch(r"(.*\.)?([kv])(\.\w+)", name)
        if layer is None:
            joined[name] = value
        elif layer[2] == "k":
            before = layer[1] or ""
            joined[f"{before}kv{layer[3]}"] = torch.cat((value, weights[f"{before}v{layer[3]}"]))
    return joined
