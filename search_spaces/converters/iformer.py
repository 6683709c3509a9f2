"""Weights of Inception Transformer by the authors' names."""

from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped

MIXER_NAMES: Sequence[tuple[str, str]] = (
    (r"high_mixer\.conv1\.", "high.expand."),
    (r"high_mixer\.proj1\.", "high.conv."),
    (r"high_mixer\.proj2\.", "high.proj."),
    (r"low_mixer\.qkv\.", "low.qkv."),
    (r"conv_fuse\.", "fuse."),
    (r"proj\.", "proj."),
)
"""Beginning of a name in the authors' mixer -> in ours."""
STEM_NAMES: Sequence[tuple[str, str]] = (
    (r"patch_embed\.proj1\.", "stem.0."),
    (r"patch_embed\.norm1\.", "stem.1."),
    (r"patch_embed\.proj2\.", "stem.3."),
    (r"patch_embed\.norm2\.", "stem.4."),
)


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The authors' weights under our names; their position maps, (1, H, W, C), become (1, C, H, W).

    Raises:
        InvalidInputError: naming what is no tensor or no entry of the network.
    """
    rows = [*STEM_NAMES, (r"norm\.", "stages.3.norm."), (r"head\.", "head.fc.")]
    for stage in range(4):
        rows += _stage_rows(stage)
    weights = renamed(unwrapped(state_dict), rows)
    for name in [name for name in weights if name.endswith("position.table")]:
        weights[name] = weights[name].permute(0, 3, 1, 2)
    return weights


def _stage_rows(stage: int) -> list[tuple[str, str]]:
    number = stage + 1
    block = rf"blocks{number}\.(\d+)\."
    ours = rf"stages.{stage}.blocks.\1"
    rows = [(rf"{block}attn\.{pattern}", f"{ours}.mixer.{name}") for pattern, name in MIXER_NAMES]
    return [
        *rows,
        (rf"{block}(norm[12])\.", rf"{ours}.\2."),
        (rf"{block}mlp\.", f"{ours}.ffn."),
        (rf"{block}layer_scale_([12])$", rf"{ours}.scale\2.gamma"),
        (rf"pos_embed{number}$", f"stages.{stage}.position.table"),
        (rf"patch_embed{number}\.proj\.", f"stages.{stage}.downsample.0."),
        (rf"patch_embed{number}\.norm\.", f"stages.{stage}.downsample.1."),
    ]
