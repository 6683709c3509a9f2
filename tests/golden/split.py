"""CAS-ViT, SHViT, Inception Transformer, PartialNet and ConViT through ours."""

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from search_spaces.checkpoints import renamed
from search_spaces.converters.casvit import MIXER_NAMES, block_names, with_linear_layers
from search_spaces.converters.iformer import MIXER_NAMES as INCEPTION_NAMES
from search_spaces.converters.shvit import MIXER_NAMES as SHSA_NAMES
from search_spaces.network.blocks import make_block
from search_spaces.network.ffns.mlp_pat import SpatialGate
from search_spaces.network.parts import find_part
from search_spaces.published.networks.casvit import BLOCK
from tests.golden_mixers import Outputs, Weights

PAT_NAMES = (
    (r"partial_conv3\.", "conv."),
    (r"attn\.cfc1\.", "attention.weigh."),
    (r"attn\.bn\.", "attention.norm_gate."),
    (r"attn\.(qkv|proj)\.", r"attention.\1."),
    (r"attn\.rpe_k\.lookup_table_bias", "attention.bias.bias_table"),
    (r"norm\.", "attention.norm."),
)
SPATIAL_NAMES = (
    (r"conv\.", "mix."),
    (r"conv_attn\.", "weigh."),
    (r"norm\.", "norm_weighed."),
    (r"norm2\.", "norm_mixed."),
)
GPSA_NAMES = (
    (r"gating_param", "gate.gating"),
    (r"pos_proj\.", "gate."),
    (r"(qkv|proj)\.", r"\1."),
)


def mixed(name: str, width: int, block: dict[str, Any], weights: Weights, x: torch.Tensor) -> torch.Tensor:
    """What a mixer with these weights makes of tokens, (B, H, W, C)."""
    module = find_part("mixers", name)(width, block).eval()
    module.load_state_dict(weights)
    out: torch.Tensor = module(x)
    return out


def of_map(name: str, block: dict[str, Any], weights: Weights, x: torch.Tensor) -> Outputs:
    """The same of a map, (B, C, H, W)."""
    return {"y": mixed(name, x.shape[1], block, weights, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)}


def additive(config: dict[str, Any], weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    return of_map("additive", {}, renamed(weights, MIXER_NAMES), x)


def casvit_block(config: dict[str, Any], weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    width = x.shape[1]
    blocks = (BLOCK[0], replace(BLOCK[1], ffn_ratio=config["mlp_ratio"]))
    module = nn.Sequential(*(make_block(width, asdict(block), 0.0) for block in blocks)).eval()
    module.load_state_dict(with_linear_layers(renamed(weights, block_names("", "", 0))))
    return {"y": module(x)}


def shsa(config: dict[str, Any], weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    options = (("pdim", str(config["pdim"])), ("qk_dim", str(config["qk_dim"])))
    return of_map("shsa", {"options": options}, renamed(weights, SHSA_NAMES), x)


def inception(config: dict[str, Any], weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    heads = config["num_heads"]
    share = round(100 * config["attention_heads"] / heads)
    block = {
        "heads": heads,
        "head_dim": config["dim"] // heads,
        "options": (("attended", str(share)), ("pool", str(config["pool_size"]))),
    }
    ours = renamed(weights, INCEPTION_NAMES)
    ours.setdefault("low.qkv.bias", torch.zeros(len(ours["low.qkv.weight"])))
    return {"y": mixed("inception", config["dim"], block, ours, x)}


def pat(config: dict[str, Any], weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    is_self = config["source"].endswith("self")
    options = [("division", str(config["n_div"])), ("form", "self" if is_self else "channel")]
    if is_self:
        options.append(("heads", str(config["num_heads"])))
    ours = renamed(weights, PAT_NAMES)
    if not is_self:
        # (out, in, 1, 2) over (channel, mean or deviation) -> (out, 2 in).
        ours["attention.weigh.weight"] = ours["attention.weigh.weight"].flatten(1)
    return of_map("pat", {"options": options}, ours, x)


def spatial(config: dict[str, Any], weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    module = SpatialGate(config["dim"]).eval()
    module.load_state_dict(renamed(weights, SPATIAL_NAMES))
    return {"y": module(x)}


def gpsa(config: dict[str, Any], weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    B, _, C = x.shape
    height, width = config["size"]
    joined = {f"qkv.{part}": torch.cat((weights[f"qk.{part}"], weights[f"v.{part}"])) for part in parts(weights)}
    joined |= {name: value for name, value in weights.items() if not name.startswith(("qk.", "v."))}
    block = {"heads": config["heads"], "head_dim": C // config["heads"], "options": (("form", "gated"),)}
    module = find_part("mixers", "full")(C, block)
    # Ours has no bias of Q, K and V, as published; a setting of the authors adds it.
    module.qkv = nn.Linear(C, 3 * C, bias="qkv.bias" in joined)
    module.load_state_dict(renamed(joined, GPSA_NAMES))
    return {"y": module.eval()(x.view(B, height, width, C)).view(x.shape)}


def parts(weights: Weights) -> list[str]:
    """Of the layer that makes Q and K: its weight, and its bias where there is one."""
    return [part for part in ("weight", "bias") if f"qk.{part}" in weights]


RUNNERS = (
    ("CAS-ViT AdditiveBlock", casvit_block),
    ("CAS-ViT AdditiveTokenMixer", additive),
    ("SHSA", shsa),
    ("inception_transformer|iFormer", inception),
    ("Partial_conv3", pat),
    ("partial_spatial", spatial),
    ("GPSA", gpsa),
)
