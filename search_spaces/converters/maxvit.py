"""timm's MaxViT with TensorFlow's weights under our names: `timm.create_model("maxvit_tiny").load_state_dict(...)`."""

from collections.abc import Mapping
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.blocks import by_block, under
from search_spaces.converters.coatnet import ATTENTION_NAMES, BOTTLENECK_NAMES, END_NAMES, place_bottleneck

PART = r"stages\.(\d)\.blocks\.(\d+)\.{}\."
"""One of the three parts of a block."""


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a MaxViT of timm's, such as maxvit_tiny_tf_224, for a model of ours.

    Returns:
        Our names: a block of the paper is three of ours, and the first convolution of each stage its downsampling.

    Raises:
        InvalidInputError: naming the entries that no such network has.
    """
    convolutions, rest = by_block(unwrapped(state_dict), PART.format("conv"))
    windows, rest = by_block(rest, PART.format("attn_block"))
    grids, ends = by_block(rest, PART.format("attn_grid"))
    weights = renamed(ends, END_NAMES)
    for (stage, block), entries in convolutions.items():
        weights |= place_bottleneck(stage, 3 * block - 1, renamed(entries, BOTTLENECK_NAMES))
    for offset, attentions in enumerate((windows, grids)):
        for (stage, block), entries in attentions.items():
            weights |= under(f"stages.{stage}.blocks.{3 * block + offset}", renamed(entries, ATTENTION_NAMES))
    return weights
