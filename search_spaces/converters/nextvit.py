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
_STEM: Names = (
    *((rf"stem\.{index}\.conv\.", f"stem.{3 * index}.") for index in range(4)),
    *((rf"stem\.{index}\.norm\.", f"stem.{3 * index + 1}.") for index in range(4)),
)
_FEED_FORWARD = r"ffn\.fc[12]"


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of timm's Next-ViT for a model of ours, `timm.create_model("hybrid_nextvit_small")`.

    Raises:
        InvalidInputError: naming the entries that no Next-ViT has.
    """
    published = unwrapped(state_dict)
    names = [*_STEM, *_block_names(published), (r"norm\.", "norm."), (r"head\.fc\.", "head.fc.")]
    return join_keys_and_values(as_linear(renamed(published, names), _FEED_FORWARD))


def _block_names(published: Weights) -> Names:
    """Every change of width begins a stage of ours, and so does the second half of a transformer block."""
    blocks = {match[0] for name in published if (match := re.match(r"stages\.(\d+)\.blocks\.(\d+)\.", name))}
    names: list[tuple[str, str]] = []
    stage = -1
    index = 0
    for block in sorted(blocks, key=lambda block: [int(number) for number in re.findall(r"\d+", block)]):
        if f"{block}patch_embed.conv.weight" in published:
            stage += 1
            index = 0
        theirs = re.escape(block)
        here = f"stages.{stage}."
        embed = f"{here}downsample."
        mixer = f"{here}blocks.{index}."
        if f"{block}e_mhsa.q.weight" in published:
            stage += 1
            after = f"stages.{stage}."
            names += transformer_block_names(theirs, embed, mixer, f"{after}downsample.", f"{after}blocks.0.")
        else:
            names += conv_block_names(theirs, embed, mixer, f"{here}blocks.{index + 1}.")
            index += 2
    return names


def conv_block_names(theirs: str, embed: str, mixer: str, ffn: str) -> Names:
    """A convolution block: its change of width, convolution, feed-forward."""
    return (
        (rf"{theirs}patch_embed\.", f"{embed}1."),
        *under(rf"{theirs}mhca\.", f"{mixer}mixer.mix.", CONVOLUTION),
        (rf"{theirs}norm\.", f"{ffn}norm2."),
        (rf"{theirs}mlp\.", f"{ffn}ffn."),
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
    """The entries of one published convolution block: its change of width, convolution, feed-forward."""
    return as_linear(renamed(published, conv_block_names("", "patch_embed.", "mixer.", "ffn.")), _FEED_FORWARD)


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
