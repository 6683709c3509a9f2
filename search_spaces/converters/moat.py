"""MOAT's TensorFlow variables under our names: `timm.create_model("moat_0").load_state_dict(convert(...))`.

A file of them holds each variable under its name, `moat/block_00_00/pre_norm/gamma` for example, in TensorFlow's
layout.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.blocks import as_linear, by_block, split_names, under
from search_spaces.converters.coatnet import place_bottleneck

BLOCK = r"moat/block_(\d+)_(\d+)/"
END_NAMES: Sequence[tuple[str, str]] = (
    (r"(?:moat/)?stem/conv_0\.", "stem.0."),
    (r"(?:moat/)?stem/norm_0\.", "stem.1."),
    (r"(?:moat/)?stem/conv_1\.", "stem.3."),
    (r"moat/final_layer_norm\.", "head.norm."),
    (r"moat/logits_head\.", "head.fc."),
)
"""Stem and head."""
BLOCK_NAMES: Sequence[tuple[str, str]] = (
    (r"shortcut_conv\.", "shortcut.expand."),
    (r"(pre_norm|expand_norm|depthwise_norm)\.", r"bottleneck.\1."),
    (r"(expand|depthwise|shrink)_conv\.", r"bottleneck.\1."),
    (r"se/reduce_conv2d\.", "bottleneck.excite.fc1."),
    (r"se/expand_conv2d\.", "bottleneck.excite.fc2."),
    (r"attention_norm\.", "norm1."),
    (r"attention/o\.", "mixer.proj."),
    (r"attention/qkv\.", "mixer.qkv."),
    (r"attention\.relative_position_embedding", "mixer.bias.bias_table"),
)
"""A block, with or without attention."""
LEAVES: Mapping[str, str] = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""Last part of a variable's name -> of ours, where they differ."""
STREAM_ENTRIES = 8
"""Weights and biases of queries, keys, values and output."""


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a released MOAT, with or without position tables, for a model of ours.

    Returns:
        Our names and layouts; see `convert_block`.

    Raises:
        InvalidInputError: naming the entries that no such network has.
    """
    blocks, ends = by_block(unwrapped(state_dict), BLOCK)
    stem, head = split_names(renamed(_leaves(ends), END_NAMES), ("stem.",))
    weights = stem | {name: as_linear(value) for name, value in head.items()}
    for (stage, block), entries in blocks.items():
        weights |= _place(stage, block, convert_block(entries))
    return weights


def convert_block(entries: Weights) -> Weights:
    """A block, without what stands before its names.

    Returns:
        The names of `StridedBottleneck` and, where it attends, of `AttentionBlock`. Kernels are transposed; queries,
        keys and values stand in one layer; tables are flipped, because theirs are indexed by key - query.
    """
    weights = renamed(_leaves(_joined(entries)), BLOCK_NAMES)
    table = weights.get("mixer.bias.bias_table")
    if table is not None:
        weights["mixer.bias.bias_table"] = table.flip((1, 2))
    return weights


def _place(stage: int, block: int, weights: Weights) -> Weights:
    """The convolution of a stage's first block is the downsampling, and its attention a block of its own."""
    convolved, attended = split_names(weights, ("shortcut.", "bottleneck."))
    if not attended:
        return place_bottleneck(stage, block - 1, convolved)
    place = f"stages.{stage}.blocks.{block}"
    if block:
        return under(f"{place}.0.mixer", convolved) | under(f"{place}.1", attended)
    return place_bottleneck(stage, -1, convolved) | under(place, attended)


def _joined(entries: Weights) -> Weights:
    """Queries, keys and values, (C, heads, head_dim) each, as rows of one linear layer; the output's too."""
    attended, joined = split_names(entries, ("attention/q/", "attention/k/", "attention/v/", "attention/o/"))
    if len(attended) == STREAM_ENTRIES:
        weights = [attended[f"attention/{stream}/weight"].flatten(1).T for stream in "qkv"]
        joined["attention/qkv/weight"] = torch.cat(weights)
        joined["attention/qkv/bias"] = torch.cat([attended[f"attention/{stream}/bias"].flatten() for stream in "qkv"])
        joined["attention/o/weight"] = attended["attention/o/weight"].flatten(0, 1).T
        joined["attention/o/bias"] = attended["attention/o/bias"]
        return joined
    return entries


def _leaves(entries: Weights) -> Weights:
    """Names and layouts of the variables as torch has them; batch norms get the counter that torch keeps."""
    weights = {}
    for name, value in entries.items():
        layer, _, leaf = name.rpartition("/")
        weights[f"{layer}.{LEAVES.get(leaf, leaf)}".removeprefix(".")] = _transposed(leaf, value)
        if leaf == "moving_mean":
            weights[f"{layer}.num_batches_tracked"] = torch.tensor(0)
    return weights


def _transposed(leaf: str, value: torch.Tensor) -> torch.Tensor:
    """Kernels from (rows, columns, in, out), or (rows, columns, channels, 1) of depthwise ones, to torch's."""
    if leaf == "kernel":
        return value.permute(3, 2, 0, 1)
    return value.permute(2, 3, 0, 1) if leaf == "depthwise_kernel" else value
