"""The authors' TransNeXt under our names."""

from collections.abc import Mapping
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped
from search_spaces.converters.names import Names, under

ATTENTION: Names = (
    ("qkv.", "qkv."),
    ("q.", "q."),
    ("kv.", "kv."),
    ("proj.", "proj."),
    ("temperature", "temperature"),
    ("query_embedding", "query_embedding"),
    ("relative_pos_bias_local", "neighbours.bias_table"),
    ("learnable_tokens", "neighbours.tokens"),
    ("learnable_bias", "neighbours.token_bias"),
    ("sr.", "pool.conv."),
    ("norm.", "pool.norm."),
    ("cpb_fc", "bias.fc"),
)
"""A layer `qkv` keeps its name, see `split_qkv_rows`."""
FEED_FORWARD: Names = (("fc", "fc"), ("dwconv.dwconv.", "conv."))
_BLOCK: Names = (
    ("norm", "norm"),
    *((f"attn.{published}", f"mixer.{ours}") for published, ours in ATTENTION),
    *((f"mlp.{published}", f"ffn.{ours}") for published, ours in FEED_FORWARD),
)
_EMBED: Names = (("proj.", "0."), ("norm.", "1."))


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a published TransNeXt for a model of ours, `timm.create_model("transnext_micro")`.

    Raises:
        InvalidInputError: naming the entries that no TransNeXt has.
    """
    names = [(r"head\.", "head.fc.")]
    for stage in range(4):
        place = f"stages.{stage}."
        names += under(rf"patch_embed{stage + 1}\.", f"{place}downsample." if stage else "stem.", _EMBED)
        names += under(rf"block{stage + 1}\.(\d+)\.", rf"{place}blocks.\1.", _BLOCK)
        names += [(rf"norm{stage + 1}\.", f"{place}norm.")]
    return split_qkv_rows(renamed(unwrapped(state_dict), names))


def convert_attention(published: Weights) -> Weights:
    """The entries of one published attention, of either form, for our `aggregated`.

    Raises:
        InvalidInputError: naming the entries that no attention of TransNeXt has.
    """
    return split_qkv_rows(renamed(published, under("", "", ATTENTION)))


def split_qkv_rows(weights: Weights) -> Weights:
    """Each layer `qkv` of the cosine form as the two that it is here: a third of its rows is q, the rest kv."""
    split = {}
    for name, value in weights.items():
        before, found, field = name.rpartition("qkv.")
        if found:
            split[f"{before}q.{field}"], split[f"{before}kv.{field}"] = value.tensor_split([value.shape[0] // 3])
        else:
            split[name] = value
    return split
