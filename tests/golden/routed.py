"""BiFormer, GLNet, InLine attention and L2ViT through ours."""

from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import Options, set_knobs
from search_spaces.checkpoints import renamed
from search_spaces.converters import biformer, glnet, l2vit
from search_spaces.network.blocks import make_block
from search_spaces.network.parts import find_part
from search_spaces.published.networks.l2vit import linear_block
from tests.golden_mixers import Outputs, Weights

INLINE = ((r"(qkv|proj)\.", r"\1."), (r"residual\.", "kernels."))


def as_tokens(x: torch.Tensor, config: dict[str, Any]) -> torch.Tensor:
    """(B, H, W, C) of x in the config's layout: channels last, second, or tokens in rows of `size`."""
    if x.dim() == 3:
        return x.unflatten(1, tuple(config["size"]))
    return x.permute(0, 2, 3, 1) if config["layout"][1] == "C" else x


def in_layout(y: torch.Tensor, config: dict[str, Any]) -> torch.Tensor:
    """(B, H, W, C) as the layout has it."""
    if config["layout"] == "BNC":
        return y.flatten(1, 2)
    return y.permute(0, 3, 1, 2) if config["layout"][1] == "C" else y


def fill(module: nn.Module, weights: Weights) -> nn.Module:
    """The module with these weights, in inference mode; one without a bias of Q, K and V gets zeros."""
    zeros = {name: torch.zeros_like(value) for name, value in module.state_dict().items() if name == "qkv.bias"}
    module.load_state_dict({**zeros, **weights})
    return module.eval()


def mixer(name: str, config: dict[str, Any], x: torch.Tensor, options: Options) -> nn.Module:
    """The mixer of x's width."""
    width = as_tokens(x, config).shape[3]
    heads = config.get("heads", 1)
    return find_part("mixers", name)(width, {"heads": heads, "head_dim": width // heads, "options": options})


def run_bra(config: dict[str, Any], weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """config: heads, regions_per_side, topk, side_dwconv, size, layout."""
    options = set_knobs(
        KINDS["bra"].options,
        regions=config["regions_per_side"],
        topk=config["topk"],
        kernel=config["side_dwconv"],
        pad="projected" if config["module"].startswith("nchw") else "input",
    )
    module = fill(mixer("bra", config, x, options), biformer.convert_mixer(weights))
    chosen = []
    route = module.route
    module.route = lambda *given: chosen.append(route(*given)) or chosen[0]
    outputs = {"y": in_layout(module(as_tokens(x, config)), config)}
    return outputs if config["layout"] == "NCHW" else {**outputs, "routing_index": chosen[0].int()}


def run_whole(config: dict[str, Any], weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """config: heads, side_dwconv, layout."""
    options = set_knobs(KINDS["bra"].options, scope="whole", kernel=config["side_dwconv"])
    module = fill(mixer("bra", config, x, options), biformer.convert_mixer(weights))
    return {"y": in_layout(module(as_tokens(x, config)), config)}


def run_inline(config: dict[str, Any], weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """config: heads, kernel_func, size."""
    options = set_knobs(KINDS["inline"].options, phi=config["kernel_func"])
    module = fill(mixer("inline", config, x, options), renamed(weights, INLINE))
    return {"y": in_layout(module(as_tokens(x, config)), config)}


def run_linear(config: dict[str, Any], weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """config: heads, clamp_min, size."""
    module = fill(mixer("linear", config, x, ()), l2vit.convert_attention(weights))
    module.floor = float(config["clamp_min"])  # the knob takes whole numbers
    return {"y": in_layout(module(as_tokens(x, config)), config)}


def run_concentration(config: dict[str, Any], weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """config: kernel, size."""
    options = set_knobs(KINDS["concentration"].options, kernel=config["kernel"])
    module = fill(mixer("concentration", config, x, options), l2vit.convert_concentration(weights))
    return {"y": in_layout(module(as_tokens(x, config)), config)}


def run_glmix_block(config: dict[str, Any], weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """config: heads, slots, local_kernel, mlp_dw, mlp_ratio, layout."""
    options = set_knobs(KINDS["glmix"].options, slots=config["slots"], kernel=config["local_kernel"])
    block = glnet_block("glmix", config, x, options)
    block.load_state_dict(glnet.convert_block(weights))
    normed = block.norm1(block.position(x).permute(0, 2, 3, 1))
    given = x.permute(0, 2, 3, 1)
    return {
        "y": block(x),
        "mixer_x": normed.permute(0, 3, 1, 2),
        "init_slots": block.mixer.first_slots(given),
        "mixer_y": block.mixer(normed, given).permute(0, 3, 1, 2),
    }


def run_mhsa_block(config: dict[str, Any], weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """config: heads, mlp_dw, mlp_ratio, layout."""
    block = glnet_block("full", config, x, ())
    block.load_state_dict(glnet.convert_block(weights))
    return {"y": block(x)}


def glnet_block(attention: str, config: dict[str, Any], x: torch.Tensor, options: Options) -> nn.Module:
    """A block of GLNet for x, (B, C, H, W)."""
    width = x.shape[1]
    spec = BlockSpec(
        "attention",
        attention=attention,
        heads=config["heads"],
        head_dim=width // config["heads"],
        position="cpe",
        ffn="mlp_cpe" if config["mlp_dw"] else "mlp",
        ffn_ratio=config["mlp_ratio"],
        options=options,
    )
    return make_block(width, asdict(spec), 0.0).eval()


def run_linear_block(config: dict[str, Any], weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """config: heads, mlp_ratio, size."""
    tokens = as_tokens(x, config)
    width = tokens.shape[3]
    specs = linear_block(width, config["heads"], config["mlp_ratio"])
    blocks = nn.Sequential(*(make_block(width, asdict(spec), 0.0) for spec in specs)).eval()
    blocks.load_state_dict(l2vit.convert_block(weights))
    return {"y": in_layout(blocks(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), config)}


RUNNERS = (
    (r"BiFormer .*(BiLevelRouting|BRA)", run_bra),
    ("BiFormer AttentionLePE", run_whole),
    ("GLNet GLMix", run_glmix_block),
    ("GLNet MHSA", run_mhsa_block),
    ("InLine", run_inline),
    ("L2ViT LinearAttention", run_linear),
    ("L2ViT LCM", run_concentration),
    ("L2ViT LGABlock", run_linear_block),
)
