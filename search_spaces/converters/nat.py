"""NAT (arXiv 2204.07143) and DiNAT (2209.15001): the names of the authors' nat.py and of NATTEN's module."""

from collections.abc import Mapping
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.names import Names, under

MIXER: Names = (("qkv.", "qkv."), ("rpb", "bias_table"), ("proj.", "proj."))
BLOCK: Names = (
    ("norm", "norm"),
    *((f"attn.{published}", f"mixer.{ours}") for published, ours in MIXER),
    ("mlp.", "ffn."),
    ("gamma1", "scale1.gamma"),
    ("gamma2", "scale2.gamma"),
)
ENDS: Names = (
    ("patch_embed.proj.", "stem.convs."),
    ("patch_embed.norm.", "stem.norm."),
    ("norm.", "stages.3.norm."),
    ("head.", "head.fc."),
)
DOWNSAMPLE: Names = (("reduction.", "0."), ("norm.", "1."))


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a published NAT for a model of ours.

    Raises:
        InvalidInputError: naming the entries that no NAT has.
    """
    names = [*under("", "", ENDS), *under(r"levels\.(\d)\.blocks\.(\d+)\.", r"stages.\1.blocks.\2.", BLOCK)]
    for level in range(3):
        names += under(rf"levels\.{level}\.downsample\.", f"stages.{level + 1}.downsample.", DOWNSAMPLE)
    return renamed(unwrapped(state_dict), names)


def convert_mixer(published: Weights) -> Weights:
    """The entries of one published attention for a mixer of ours.

    Raises:
        InvalidInputError: naming the entries that no neighbourhood attention has.
    """
    return renamed(published, under("", "", MIXER))
