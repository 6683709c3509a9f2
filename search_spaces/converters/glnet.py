"""GLNet (arXiv 2411.14429): the names of the authors' state_dicts."""

from collections.abc import Mapping
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.biformer import ENDS
from search_spaces.converters.names import Names, as_linear, under

BLOCK: Names = (
    ("pos_conv.", "position.conv."),
    ("slot_scale", "mixer.scale"),
    ("relation_mha.in_proj_", "mixer.attend.qkv."),
    ("relation_mha.out_proj.", "mixer.attend.proj."),
    ("feature_conv.0.", "mixer.proj_in."),
    ("feature_conv.1.", "mixer.conv."),
    ("feature_conv.2.", "mixer.proj."),
    ("mha_op.in_proj_", "mixer.qkv."),
    ("mha_op.out_proj.", "mixer.proj."),
    ("norm", "norm"),
    ("mlp.0.", "ffn.fc1."),
    ("mlp.1.", "ffn.position.conv."),
    ("mlp.3.", "ffn.fc2."),
)
LINEAR = r"mixer\.(proj_in|proj)|ffn\.fc[12]"


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a published GLNet for a model of ours.

    Raises:
        InvalidInputError: naming the entries that no GLNet has.
    """
    names = [*under("", "", ENDS), *under(r"stages\.(\d)\.blocks\.(\d+)\.", r"stages.\1.blocks.\2.", BLOCK)]
    return as_linear(renamed(unwrapped(state_dict), names), LINEAR)


def convert_block(published: Weights) -> Weights:
    """The entries of one published block for a block of ours.

    Raises:
        InvalidInputError: naming the entries that no block of GLNet has.
    """
    return as_linear(renamed(published, under("", "", BLOCK)), LINEAR)
