"""Weights of SHViT by timm's names."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped

Names = tuple[str, str]
MIXER_NAMES: Sequence[Names] = (
    (r"pre_norm\.", "norm."),
    (r"qkv\.c\.", "qkv.conv."),
    (r"qkv\.bn\.", "qkv.norm."),
    (r"proj\.1\.c\.", "proj.conv."),
    (r"proj\.1\.bn\.", "proj.norm."),
)
"""Beginning of a name in timm's SHSA -> in ours."""
CONV_NAMES: Sequence[Names] = ((r"m\.c\.", "mixer.conv_dw."), (r"m\.bn\.", "mixer.norm_dw."))
FFN_NAMES: Sequence[Names] = (
    (r"m\.pw1\.c\.", "ffn.expand.conv."),
    (r"m\.pw1\.bn\.", "ffn.expand.norm."),
    (r"m\.pw2\.c\.", "ffn.reduce.conv."),
    (r"m\.pw2\.bn\.", "ffn.reduce.norm."),
)
MERGE_NAMES: Sequence[Names] = (
    (r"conv1\.c\.", "conv_pw."),
    (r"conv1\.bn\.", "bn1."),
    (r"conv2\.c\.", "conv_dw."),
    (r"conv2\.bn\.", "bn2."),
    (r"se\.fc1\.", "se.conv_reduce."),
    (r"se\.fc2\.", "se.conv_expand."),
    (r"conv3\.c\.", "conv_pwl."),
    (r"conv3\.bn\.", "bn3."),
)
ENDS: Sequence[Names] = (
    (r"patch_embed\.(\d)\.c\.", r"stem.\1.conv."),
    (r"patch_embed\.(\d)\.bn\.", r"stem.\1.norm."),
    (r"head\.bn\.", "head.norm."),
    (r"head\.l\.", "head.fc."),
)


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """timm's weights under our names.

    Raises:
        InvalidInputError: naming what is no tensor or no entry of the network.
    """
    published = unwrapped(state_dict)
    rows = list(ENDS)
    for stage in range(3):
        depth = len({match[1] for name in published if (match := re.match(rf"stages\.{stage}\.blocks\.(\d+)\.", name))})
        rows += _stage_rows(stage, depth)
    return renamed(published, rows)


def _stage_rows(stage: int, depth: int) -> list[Names]:
    """Rows of a stage of so many blocks in timm's count; ours has what leads to it and to the next stage too."""
    theirs = rf"stages\.{stage}\.blocks\."
    ours = f"stages.{stage}.blocks."
    following = rf"stages\.{stage + 1}\.downsample\."
    if stage == 0:
        rows = _joint_rows(rf"{following}0\.", rf"{following}1\.", f"{ours}{depth}.")
        for number in range(depth):
            rows += _joint_rows(rf"{theirs}{number}\.conv\.", rf"{theirs}{number}\.ffn\.", f"{ours}{number}.")
        return rows
    change = rf"stages\.{stage}\.downsample\."
    rows = _under(rf"{change}2\.", f"stages.{stage}.downsample.", MERGE_NAMES)
    rows += _joint_rows(rf"{change}3\.", rf"{change}4\.", f"{ours}0.")
    rows += _joint_rows(rf"{following}0\.", rf"{following}1\.", f"{ours}{depth + 1}.")
    for number in range(depth):
        rows += _under(rf"{theirs}{number}\.conv\.", f"{ours}{number + 1}.0.", CONV_NAMES)
        rows += _under(rf"{theirs}{number}\.mixer\.m\.", f"{ours}{number + 1}.1.mixer.", MIXER_NAMES)
        rows += _under(rf"{theirs}{number}\.ffn\.", f"{ours}{number + 1}.1.", FFN_NAMES)
    return rows


def _joint_rows(conv: str, ffn: str, ours: str) -> list[Names]:
    """A depthwise convolution and a feed-forward, one block of ours."""
    return _under(conv, ours, CONV_NAMES) + _under(ffn, ours, FFN_NAMES)


def _under(theirs: str, ours: str, names: Sequence[Names]) -> list[Names]:
    return [(theirs + pattern, ours + name) for pattern, name in names]
