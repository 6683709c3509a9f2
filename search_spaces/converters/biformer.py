"""BiFormer (arXiv 2303.08810): the names of the authors' state_dicts."""

from collections.abc import Mapping
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.names import Names, as_linear, under

MIXER: Names = (
    ("lepe.", "local."),
    ("qkv.qkv.", "qkv."),
    ("qkv_linear.", "qkv."),
    ("qkv.", "qkv."),
    ("wo.", "proj."),
    ("output_linear.", "proj."),
    ("proj.", "proj."),
)
"""Three published forms: of regions, the same of maps with channels second, and of the whole map."""
BLOCK: Names = (
    ("pos_embed.", "position.conv."),
    ("norm", "norm"),
    ("mlp.0.", "ffn.fc1."),
    ("mlp.3.", "ffn.fc2."),
)
ENDS: Names = (
    ("downsample_layers.0.", "stem."),
    *((f"downsample_layers.{stage}.", f"stages.{stage}.downsample.") for stage in (1, 2, 3)),
    ("norm.", "norm."),
    ("head.", "head.fc."),
)


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a published BiFormer for a model of ours.

    Raises:
        InvalidInputError: naming the entries that no BiFormer has.
    """
    block = r"stages\.(\d)\.(\d+)\."
    place = r"stages.\1.blocks.\2."
    names = [*under("", "", ENDS), *under(block, place, BLOCK), *under(rf"{block}attn\.", f"{place}mixer.", MIXER)]
    return renamed(unwrapped(state_dict), names)


def convert_mixer(published: Weights) -> Weights:
    """The entries of one published attention for a mixer of ours.

    Raises:
        InvalidInputError: naming the entries that no attention of BiFormer has.
    """
    return as_linear(renamed(published, under("", "", MIXER)), "qkv|proj")
