"""PVTv2, Next-ViT, TransNeXt and DHVT."""

from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.checkpoints import renamed
from search_spaces.converters import nextvit, pvt_v2, transnext
from search_spaces.network.layers.continuous_bias import ContinuousPositionBias
from search_spaces.network.parts import find_part
from tests.golden_mixers import Outputs, Weights

Config = dict[str, Any]


def on_map(module: nn.Module, config: Config, tokens: torch.Tensor) -> torch.Tensor:
    """(B, N, C) through a module of maps, (B, H, W, C)."""
    height, width = config["size"]
    B, N, C = tokens.shape
    out: torch.Tensor = module.eval()(tokens.view(B, height, width, C))
    return out.reshape(B, N, C)


def attention(name: str, config: Config, width: int, **knobs: Any) -> nn.Module:
    heads = config["heads"] if "heads" in config else width // config["head_dim"]
    options = sorted((knob, str(value)) for knob, value in knobs.items())
    block = {"heads": heads, "head_dim": width // heads, "map_size": config["size"][0], "options": options}
    module: nn.Module = find_part("mixers", name)(width, block)
    return module


def run_reduced(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """PVTv2's attention, both forms."""
    is_linear = "linear" in config["module"]
    knobs = {"form": "averaged", "pool": config.get("pool", 7)} if is_linear else {"ratio": config["sr_ratio"]}
    module = attention("pooled", config, x.shape[2], **knobs)
    module.load_state_dict(renamed(weights, pvt_v2.attention_names()))
    return {"y": on_map(module, config, x)}


def run_raster(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """Next-ViT's attention."""
    module = attention("pooled", config, x.shape[2], form="raster", ratio=config["sr_ratio"])
    module.load_state_dict(nextvit.join_keys_and_values(renamed(weights, nextvit.attention_names())))
    return {"y": on_map(module, config, x)}


def run_aggregated(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """TransNeXt's attention, both forms."""
    is_cosine = config["module"] == "Attention"
    knobs = {"form": "cosine"} if is_cosine else {"ratio": config["sr_ratio"], "window": config["window"]}
    module = attention("aggregated", config, x.shape[2], **knobs)
    module.bias = ContinuousPositionBias(config["heads"], *config["pretrain_size"])
    module.load_state_dict(transnext.split_qkv_rows(renamed(weights, transnext.attention_names())))
    return {"y": on_map(module, config, x)}


def run_conv_glu(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    ratio = Fraction(config["hidden_argument"], config["in_features"])
    module = find_part("ffns", "conv_glu")(config["in_features"], {"ffn_ratio": ratio})
    module.load_state_dict(renamed(weights, transnext.glu_names()))
    return {"y": on_map(module, config, x)}


def run_daff(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """The class token, which networks here do not have, is gated by a squeeze of what our module makes of the rest."""
    gate = {name: weights.pop(name) for name in list(weights) if name.startswith(("compress", "excitation"))}
    options = [("kernel", str(config["kernel"]))]
    module = find_part("ffns", "daff")(x.shape[2], {"ffn_ratio": Fraction(config["hidden"], x.shape[2]), "ffn_options": options})
    module.load_state_dict(weights)
    patches = on_map(module, config, x[:, 1:])
    squeezed = F.gelu(F.linear(patches.mean(dim=1), gate["compress.weight"], gate["compress.bias"]))
    excited = F.linear(squeezed, gate["excitation.weight"], gate["excitation.bias"])
    return {"y": torch.cat((x[:, :1] * excited[:, None], patches), dim=1)}


RUNNERS = (
    (r"^PVTv2", run_reduced),
    (r"^Next-ViT.* EfficientAttention", run_raster),
    (r"^TransNeXt ConvolutionalGLU", run_conv_glu),
    (r"^TransNeXt .*Attention", run_aggregated),
    (r"^DHVT DAFF", run_daff),
)
