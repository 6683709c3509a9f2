"""VAN (arXiv 2202.09741): the names of the authors' models/van.py."""

from collections.abc import Mapping
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.names import Names, as_linear, under

BLOCK: Names = (
    ("attn.proj_1.", "mixer.proj_in."),
    ("attn.spatial_gating_unit.conv0.", "mixer.conv_local."),
    ("attn.spatial_gating_unit.conv_spatial.", "mixer.conv_dilated."),
    ("attn.spatial_gating_unit.conv1.", "mixer.mix."),
    ("attn.proj_2.", "mixer.proj."),
    ("mlp.dwconv.dwconv.", "ffn.mlp.dwconv."),
    ("mlp.fc", "ffn.mlp.fc"),
    ("norm", "norm"),
    ("layer_scale_1", "scale1.gamma"),
    ("layer_scale_2", "scale2.gamma"),
)
STAGE: Names = (("proj.", "downsample.0."), ("norm.", "downsample.1."))
LINEAR = r"mixer\.(proj_in|mix|proj)|mlp\.fc[12]"


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a published VAN for a model of ours.

    Raises:
        InvalidInputError: naming the entries that no VAN has.
    """
    names = [(r"patch_embed1\.proj\.", "stem.0."), (r"patch_embed1\.norm\.", "stem.1."), (r"head\.", "head.fc.")]
    for stage in range(4):
        place = f"stages.{stage}"
        names += under(rf"patch_embed{stage + 1}\.", f"{place}.", STAGE)
        names += under(rf"block{stage + 1}\.(\d+)\.", rf"{place}.blocks.\1.", BLOCK)
        names += under(rf"norm{stage + 1}\.", f"{place}.norm.", (("", ""),))
    return as_linear(renamed(unwrapped(state_dict), names), LINEAR)


def convert_block(published: Weights) -> Weights:
    """The entries of one published block for a block of ours.

    Raises:
        InvalidInputError: naming the entries that no block has.
    """
    return as_linear(renamed(published, under("", "", BLOCK)), LINEAR)
