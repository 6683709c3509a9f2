"""timm's PVTv2 under our names."""

from collections.abc import Mapping
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.names import Names, under

ATTENTION: Names = (("q.", "q."), ("kv.", "kv."), ("proj.", "proj."), ("sr.", "pool.conv."), ("norm.", "pool.norm."))
_BLOCK: Names = (
    ("norm", "norm"),
    *((f"attn.{published}", f"mixer.{ours}") for published, ours in ATTENTION),
    ("mlp.", "ffn.mlp."),
)
_EMBED: Names = (("proj.", "0."), ("norm.", "1."))


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of timm's PVTv2 for a model of ours, `timm.create_model("hybrid_pvt_v2_b0")`.

    Raises:
        InvalidInputError: naming the entries that no PVTv2 has.
    """
    names = [
        *under(r"patch_embed\.", "stem.", _EMBED),
        *under(r"stages\.(\d)\.downsample\.", r"stages.\1.downsample.", _EMBED),
        *under(r"stages\.(\d)\.blocks\.(\d+)\.", r"stages.\1.blocks.\2.", _BLOCK),
        (r"stages\.(\d)\.norm\.", r"stages.\1.norm."),
        (r"head\.", "head.fc."),
    ]
    return renamed(unwrapped(state_dict), names)
