"""HorNet (arXiv 2207.14284): the names of the authors' hornet.py."""

from collections.abc import Mapping
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.names import Names, as_linear, under

MIXER: Names = (
    ("proj_in.", "proj_in."),
    ("dwconv.complex_weight", "filter.spectral.weight"),
    ("dwconv.dw.", "filter.local."),
    ("dwconv.pre_norm.", "filter.norm_in."),
    ("dwconv.post_norm.", "filter.norm_out."),
    ("dwconv.", "filter."),
    ("pws.", "lifts."),
    ("proj_out.", "proj."),
)
BLOCK: Names = (
    ("norm", "norm"),
    *((f"gnconv.{published}", f"mixer.{ours}") for published, ours in MIXER),
    ("pwconv", "ffn.fc"),
    ("gamma1", "scale1.gamma"),
    ("gamma2", "scale2.gamma"),
)
ENDS: Names = (
    ("downsample_layers.0.", "stem."),
    ("downsample_layers.1.", "stages.1.downsample."),
    ("downsample_layers.2.", "stages.2.downsample."),
    ("downsample_layers.3.", "stages.3.downsample."),
    ("norm.", "head.norm."),
    ("head.", "head.fc."),
)
LINEAR = r"proj_in|lifts\.\d|proj"


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a published HorNet for a model of ours.

    Raises:
        InvalidInputError: naming the entries that no HorNet has.
    """
    names = [*under("", "", ENDS), *under(r"stages\.(\d)\.(\d+)\.", r"stages.\1.blocks.\2.", BLOCK)]
    return as_linear(renamed(unwrapped(state_dict), names), LINEAR)


def convert_mixer(published: Weights) -> Weights:
    """The entries of one published gnconv for a mixer of ours.

    Raises:
        InvalidInputError: naming the entries that no gnconv has.
    """
    return as_linear(renamed(published, under("", "", MIXER)), LINEAR)
