"""PVTv2, Next-ViT, TransNeXt and DHVT."""

from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.checkpoints import renamed
from search_spaces.converters import nextvit, pvt_v2, transnext
from search_spaces.converters.names import under
from search_spaces.network.blocks import make_block
from search_spaces.network.downsamples.pointwise import PointwiseDownsample
from search_spaces.network.downsamples.widen import Widen
from search_spaces.network.layers.continuous_bias import ContinuousPositionBias
from search_spaces.network.layers.multi_head_conv import MultiHeadConv
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
    biases = {} if "q.bias" in weights else no_biases(module, ("q.bias", "kv.bias"))
    module.load_state_dict(biases | renamed(weights, under("", "", pvt_v2.ATTENTION)))
    return {"y": on_map(module, config, x)}


def run_raster(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """Next-ViT's attention."""
    module = attention("pooled", config, x.shape[2], form="raster", ratio=config["sr_ratio"])
    module.load_state_dict(nextvit.convert_attention(weights))
    return {"y": on_map(module, config, x)}


def run_aggregated(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """TransNeXt's attention, both forms."""
    is_cosine = config["module"] == "Attention"
    knobs = {"form": "cosine"} if is_cosine else {"ratio": config["sr_ratio"], "window": config["window"]}
    module = attention("aggregated", config, x.shape[2], **knobs)
    module.bias = ContinuousPositionBias(config["heads"], *config["pretrain_size"])
    biases = {} if config.get("qkv_bias", True) else no_biases(module, ("q.bias", "kv.bias"))
    module.load_state_dict(biases | transnext.convert_attention(weights))
    return {"y": on_map(module, config, x)}


def no_biases(module: nn.Module, names: tuple[str, ...]) -> Weights:
    """Zeros for the biases that a setting of the authors leaves out."""
    return {name: torch.zeros_like(module.state_dict()[name]) for name in names}


def run_conv_glu(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    ratio = Fraction(config["hidden_argument"], config["in_features"])
    module = find_part("ffns", "conv_glu")(config["in_features"], {"ffn_ratio": ratio})
    module.load_state_dict(renamed(weights, under("", "", transnext.FEED_FORWARD)))
    return {"y": on_map(module, config, x)}


def run_daff(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """The class token, which networks here do not have, is gated by a squeeze of what our module makes of the rest."""
    ratio = Fraction(config["hidden"], x.shape[2])
    options = [("kernel", str(config["kernel"]))]
    module = find_part("ffns", "daff")(x.shape[2], {"ffn_ratio": ratio, "ffn_options": options})
    gate = ("compress", "excitation")
    module.load_state_dict({name: value for name, value in weights.items() if not name.startswith(gate)})
    patches = on_map(module, config, x[:, 1:])
    squeezed = F.gelu(F.linear(patches.mean(dim=1), weights["compress.weight"], weights["compress.bias"]))
    excited = F.linear(squeezed, weights["excitation.weight"], weights["excitation.bias"])
    return {"y": torch.cat((x[:, :1] * excited[:, None], patches), dim=1)}


def run_multi_head_conv(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    module = MultiHeadConv(x.shape[1], config["head_dim"])
    module.load_state_dict(renamed(weights, under("", "", nextvit.CONVOLUTION)))
    return {"y": module.eval()(x)}


def run_conv_block(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """Next-ViT's convolution block: a change of width, then two blocks of ours."""
    width = weights["norm.weight"].shape[0]
    mixer = mixer_block(config, width) | {"attention": "mhca", "norm": "none"}
    layers = nn.ModuleDict(
        {
            "patch_embed": change_of_width(config, weights, x.shape[1], width),
            "mixer": make_block(width, mixer, 0.0),
            "ffn": make_block(width, feed_forward(config), 0.0),
        }
    )
    layers.load_state_dict(nextvit.convert_conv_block(weights))
    return {"y": chain(layers, x)}


def run_transformer_block(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """Next-ViT's transformer block: a change of width, attention, more channels, a feed-forward."""
    before = weights["norm1.weight"].shape[0]
    width = weights["norm2.weight"].shape[0]
    options = [("form", "raster"), ("ratio", str(config["sr_ratio"]))]
    mixer = mixer_block(config, before) | {"attention": "pooled", "norm": "batch", "options": options}
    layers = nn.ModuleDict(
        {
            "patch_embed": change_of_width(config, weights, x.shape[1], before),
            "attention": make_block(before, mixer, 0.0),
            "widen": Widen(before, width, 1, 0, config["head_dim"]),
            "ffn": make_block(width, feed_forward(config), 0.0),
        }
    )
    layers.load_state_dict(nextvit.convert_transformer_block(weights))
    return {"y": chain(layers, x)}


def change_of_width(config: Config, weights: Weights, in_width: int, width: int) -> nn.Module:
    """What stands before a block of Next-ViT; nothing where neither width nor resolution changes."""
    if "patch_embed.conv.weight" not in weights:
        return nn.Identity()
    return PointwiseDownsample(in_width, width, config["stride"], 0)


def mixer_block(config: Config, width: int) -> Config:
    """What the attention and the convolution of Next-ViT have in common."""
    head_dim = config["head_dim"]
    heads = width // head_dim
    return {"kind": "attention", "heads": heads, "head_dim": head_dim, "position": "none", "ffn": "none"}


def feed_forward(config: Config) -> Config:
    """The part of a block of Next-ViT that is behind its mixer."""
    part = {"kind": "ffn", "position": "none", "norm": "batch", "ffn": "mlp", "ffn_options": [("act", "relu")]}
    return part | {"ffn_ratio": config["mlp_ratio"]}


def chain(layers: nn.ModuleDict, x: torch.Tensor) -> torch.Tensor:
    for layer in layers.eval().values():
        x = layer(x)
    return x


RUNNERS = (
    (r"^PVTv2", run_reduced),
    (r"^Next-ViT.* EfficientAttention", run_raster),
    (r"^Next-ViT.* ConvAttention", run_multi_head_conv),
    (r"^Next-ViT.* NextConvBlock", run_conv_block),
    (r"^Next-ViT.* NextTransformerBlock", run_transformer_block),
    (r"^TransNeXt ConvolutionalGLU", run_conv_glu),
    (r"^TransNeXt .*Attention", run_aggregated),
    (r"^DHVT DAFF", run_daff),
)
