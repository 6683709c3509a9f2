"""timm's Next-ViT under our names."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from search_spaces.checkpoints import Weights, renamed, unwrapped


def attention_names(theirs: str = "", ours: str = "") -> Sequence[tuple[str, str]]:
    """Beginning of a name in the published attention -> in our `pooled`; before each stands what is given. The layers
    `k` and `v` keep their names, see `join_keys_and_values`."""
    return (
        (rf"{theirs}(?P<layer>q|k|v|proj)\.", rf"{ours}\g<layer>."),
        (rf"{theirs}norm\.", f"{ours}pool.norm."),
    )


def join_keys_and_values(weights: Weights) -> Weights:
    """Each pair of layers `k` and `v` as the one that it is here, `kv`."""
    joined = {}
    for name, value in weights.items():
        before, _, field = name.rpartition(".")
        layer = before.removesuffix(".k") if before != "k" else ""
        if layer != before:
            stem = f"{layer}." if layer else ""
            joined[f"{stem}kv.{field}"] = torch.cat((value, weights[f"{stem}v.{field}"]))
        elif before.rpartition(".")[2] != "v":
            joined[name] = value
    return joined
