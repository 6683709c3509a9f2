"""timm's PVTv2 under our names."""

from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped


def attention_names(theirs: str = "", ours: str = "") -> Sequence[tuple[str, str]]:
    """Beginning of a name in the published attention -> in our `pooled`; before each stands what is given."""
    return (
        (rf"{theirs}(?P<layer>q|kv|proj)\.", rf"{ours}\g<layer>."),
        (rf"{theirs}sr\.", f"{ours}pool.conv."),
        (rf"{theirs}norm\.", f"{ours}pool.norm."),
    )


_BLOCK = r"stages\.(\d)\.blocks\.(\d+)\."
NAMES: Sequence[tuple[str, str]] = (
    (r"patch_embed\.proj\.", r"stem.0."),
    (r"patch_embed\.norm\.", r"stem.1."),
    (r"stages\.(\d)\.downsample\.proj\.", r"stages.\1.downsample.0."),
    (r"stages\.(\d)\.downsample\.norm\.", r"stages.\1.downsample.1."),
    (rf"{_BLOCK}(norm[12])\.", r"stages.\1.blocks.\2.\3."),
    *attention_names(rf"{_BLOCK}attn\.", r"stages.\1.blocks.\2.mixer."),
    (rf"{_BLOCK}mlp\.", r"stages.\1.blocks.\2.ffn.mlp."),
    (r"stages\.(\d)\.norm\.", r"stages.\1.norm."),
    (r"head\.", r"head.fc."),
)
"""Beginning of a name in timm -> of ours."""


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of timm's PVTv2 for a model of ours, `timm.create_model("hybrid_pvt_v2_b0")`.

    Raises:
        InvalidInputError: naming the entries that no PVTv2 has.
    """
    return renamed(unwrapped(state_dict), NAMES)
