"""The authors' TransNeXt under our names."""

from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped


def attention_names(theirs: str = "", ours: str = "") -> Sequence[tuple[str, str]]:
    """Beginning of a name in the published attention -> in our `aggregated`; before each stands what is given. A layer
    `qkv` keeps its name, see `split_qkv_rows`."""
    return (
        (rf"{theirs}(?P<layer>qkv|q|kv|proj)\.", rf"{ours}\g<layer>."),
        (rf"{theirs}(?P<factor>temperature|query_embedding)$", rf"{ours}\g<factor>"),
        (rf"{theirs}relative_pos_bias_local$", f"{ours}neighbours.bias_table"),
        (rf"{theirs}learnable_tokens$", f"{ours}neighbours.tokens"),
        (rf"{theirs}learnable_bias$", f"{ours}neighbours.token_bias"),
        (rf"{theirs}sr\.", f"{ours}pool.conv."),
        (rf"{theirs}norm\.", f"{ours}pool.norm."),
        (rf"{theirs}cpb_(?P<cpb>fc[12])\.", rf"{ours}bias.\g<cpb>."),
    )


def glu_names(theirs: str = "", ours: str = "") -> Sequence[tuple[str, str]]:
    """The same of the feed-forward, in our `conv_glu`."""
    return (
        (rf"{theirs}(?P<layer>fc[12])\.", rf"{ours}\g<layer>."),
        (rf"{theirs}dwconv\.dwconv\.", f"{ours}conv."),
    )


def _stage_names(stage: int) -> Sequence[tuple[str, str]]:
    """Names of one stage, which the authors count from 1."""
    block = rf"block{stage + 1}\.(\d+)\."
    ours = rf"stages.{stage}.blocks.\1."
    embed = f"stages.{stage}.downsample" if stage else "stem"
    return (
        (rf"patch_embed{stage + 1}\.proj\.", f"{embed}.0."),
        (rf"patch_embed{stage + 1}\.norm\.", f"{embed}.1."),
        (rf"{block}(norm[12])\.", rf"{ours}\2."),
        *attention_names(rf"{block}attn\.", f"{ours}mixer."),
        *glu_names(rf"{block}mlp\.", f"{ours}ffn."),
        (rf"norm{stage + 1}\.", f"stages.{stage}.norm."),
    )


NAMES: Sequence[tuple[str, str]] = (
    *_stage_names(0),
    *_stage_names(1),
    *_stage_names(2),
    *_stage_names(3),
    (r"head\.", r"head.fc."),
)
"""Beginning of a published name -> of ours."""


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


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The weights of a published TransNeXt for a model of ours, `timm.create_model("transnext_micro")`.

    Raises:
        InvalidInputError: naming the entries that no TransNeXt has.
    """
    return split_qkv_rows(renamed(unwrapped(state_dict), NAMES))
