"""timm's CoAtNet under our names: `timm.create_model("coatnet_0").load_state_dict(convert(...))`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.blocks import as_linear, by_block, split_names, under

BLOCK = r"stages\.(\d)\.blocks\.(\d+)\."
ATTENDED_FROM = 2
"""The first stage that attends."""
END_NAMES: Sequence[tuple[str, str]] = (
    (r"stem\.conv1\.", "stem.0."),
    (r"stem\.norm1\.", "stem.1."),
    (r"stem\.conv2\.", "stem.3."),
    (r"head\.pre_logits\.", "head.hidden."),
    (r"head\.(norm|fc)\.", r"head.\1."),
)
"""Stem and head."""
BOTTLENECK_NAMES: Sequence[tuple[str, str]] = (
    (r"shortcut\.", "shortcut."),
    (r"pre_norm\.", "bottleneck.pre_norm."),
    (r"conv1_1x1\.", "bottleneck.expand."),
    (r"norm1\.", "bottleneck.expand_norm."),
    (r"conv2_kxk\.", "bottleneck.depthwise."),
    (r"norm2\.", "bottleneck.depthwise_norm."),
    (r"se\.", "bottleneck.excite."),
    (r"conv3_1x1\.", "bottleneck.shrink."),
)
"""A block that convolves."""
ATTENTION_NAMES: Sequence[tuple[str, str]] = (
    (r"shortcut\.", "shortcut."),
    (r"norm1\.(norm\.)?", "norm1."),
    (r"attn\.(qkv|proj)\.", r"mixer.\1."),
    (r"attn\.rel_pos\.relative_position_bias_table", "mixer.bias.bias_table"),
    (r"norm2\.", "norm2."),
    (r"mlp\.", "ffn."),
)
"""A block that attends."""
TABLE = "mixer.bias.bias_table"


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a CoAtNet of timm's, such as coatnet_0_224, for a model of ours.

    Returns:
        Our names. Rows of queries, keys and values are reordered from (head, stream, channel) to (stream, head,
        channel); 1x1 convolutions of attention and feed-forward become linear layers.

    Raises:
        InvalidInputError: naming the entries that no such network has.
    """
    blocks, ends = by_block(unwrapped(state_dict), BLOCK)
    weights = renamed(ends, END_NAMES)
    for (stage, block), entries in blocks.items():
        if stage < ATTENDED_FROM:
            weights |= place_bottleneck(stage, block - 1, renamed(entries, BOTTLENECK_NAMES))
        else:
            weights |= _place_attention(stage, block, convert_attention(entries))
    return weights


def place_bottleneck(stage: int, block: int, weights: Weights) -> Weights:
    """A block that convolves at its place among ours; the block before the first, -1, is the downsampling."""
    return under(f"stages.{stage}." + ("downsample" if block < 0 else f"blocks.{block}.mixer"), weights)


def convert_attention(entries: Weights, rows: int = 0) -> Weights:
    """A block that attends, without what stands before its names.

    Args:
        rows: of the table of offsets, for maps that are not square.
    """
    shortcut, weights = split_names(renamed(entries, ATTENTION_NAMES), ("shortcut.",))
    weights = {name: as_linear(value) for name, value in weights.items()}
    if TABLE in weights:
        offsets, heads = weights[TABLE].shape
        weights[TABLE] = weights[TABLE].T.reshape(heads, rows or math.isqrt(offsets), -1)
        weights |= {name: _by_stream(value, heads) for name, value in weights.items() if name.startswith("mixer.qkv.")}
    return shortcut | weights


def _place_attention(stage: int, block: int, weights: Weights) -> Weights:
    """The attention of the first block is the downsampling; its feed-forward stays a block."""
    if block:
        return under(f"stages.{stage}.blocks.{block}", weights)
    fed, attended = split_names(weights, ("norm2.", "ffn."))
    return under(f"stages.{stage}.blocks.0", fed) | under(f"stages.{stage}.downsample", attended)


def _by_stream(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """(3 C, ...) ordered by head, stream, channel -> ordered by stream, head, channel."""
    ordered = rows.view(heads, 3, rows.shape[0] // (3 * heads), *rows.shape[1:]).transpose(0, 1)
    return ordered.reshape(rows.shape)
