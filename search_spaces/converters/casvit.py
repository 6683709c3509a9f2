"""Weights of CAS-ViT by the authors' names."""

from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.checkpoints import Weights, renamed, unwrapped

MIXER_NAMES: Sequence[tuple[str, str]] = (
    (r"(qkv|proj)\.", r"\1."),
    (r"dwc\.", r"mix."),
    (r"oper_([qk])\.0\.block\.0\.", r"gate_\1.local."),
    (r"oper_([qk])\.0\.block\.1\.", r"gate_\1.norm."),
    (r"oper_([qk])\.0\.block\.3\.", r"gate_\1.position."),
    (r"oper_([qk])\.1\.block\.1\.", r"gate_\1.channel."),
)
"""Beginning of a name in the authors' token mixer -> in ours."""
LINEAR = (".ffn.fc1.weight", ".ffn.fc2.weight")
"""1x1 convolutions there, linear layers here."""
STAGES = 4


def block_names(published: str, ours: str, number: int) -> list[tuple[str, str]]:
    """Rows for one published block, under these prefixes: it is two blocks here, the first a feed-forward alone."""
    first = f"{ours}{2 * number}."
    second = f"{ours}{2 * number + 1}."
    local = {0: "expand", 1: "norm", 2: "conv", 4: "reduce"}
    rows = [(rf"local_perception\.network\.{index}\.", f"{first}ffn.{name}.") for index, name in local.items()]
    rows += [(rf"attn\.{pattern}", f"{second}mixer.{name}") for pattern, name in MIXER_NAMES]
    rows += [(r"(norm[12])\.", rf"{second}\1."), (r"mlp\.", f"{second}ffn.")]
    return [(published + pattern, name) for pattern, name in rows]


def with_linear_layers(weights: Weights) -> Weights:
    """The same with the feed-forwards' 1x1 convolutions, (out, in, 1, 1), as linear layers, (out, in)."""
    return {name: value.flatten(1) if name.endswith(LINEAR) else value for name, value in weights.items()}


def convert(state_dict: Mapping[str, Any]) -> Weights:
    """The authors' weights under our names.

    Where there is a second head, for distillation, the network's answer is the mean of both: that of one head with the
    mean of their weights.

    Raises:
        InvalidInputError: naming what is no tensor or no entry of the network.
    """
    published = unwrapped(state_dict)
    numbers = {name.split(".")[2] for name in published if name.startswith("network.") and name.count(".") > 3}
    rows = [(r"patch_embed\.", "stem."), (r"norm\.", "norm."), (r"head\.", "head.fc."), (r"dist_head\.", "second.")]
    for stage in range(STAGES):
        rows.append((rf"network\.{2 * stage + 1}\.proj\.", f"stages.{stage + 1}.downsample.0."))
        rows.append((rf"network\.{2 * stage + 1}\.norm\.", f"stages.{stage + 1}.downsample.1."))
        for number in sorted(numbers):
            rows += block_names(rf"network\.{2 * stage}\.{number}\.", f"stages.{stage}.blocks.", int(number))
    weights = with_linear_layers(renamed(published, rows))
    for name in [name for name in weights if name.startswith("second.")]:
        first = f"head.fc.{name.removeprefix('second.')}"
        weights[first] = (weights[first] + weights.pop(name)) / 2
    return weights
