"""gnConv of HorNet, LSConv of LSNet, VAN's block."""

import re
from typing import Any

import torch
from torch import nn

from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import set_knobs
from search_spaces.converters import hornet, lsnet, van
from search_spaces.network.blocks import make_block
from search_spaces.network.mixers.gnconv import SpectralProduct
from search_spaces.network.parts import find_part
from tests.golden_mixers import Outputs, Weights


def run_gnconv(config: dict[str, Any], weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """config: dim, order, kernel (a number, or the global filter's name with its h and w), scale, layout."""
    sides = re.findall(r"[hw]=(\d+)", str(config["kernel"]))
    how = {"filter": "global"} if sides else {"kernel": config["kernel"]}
    options = set_knobs(KINDS["gnconv"].options, order=config["order"], **how)
    block = {"options": options, "map_size": int(sides[0]) if sides else 0}
    mixer = find_part("mixers", "gnconv")(config["dim"], block)
    mixer.scale = config["scale"]
    converted = hornet.convert_mixer(weights)
    if sides:
        spectrum = converted["filter.spectral.weight"]
        mixer.filter.spectral = SpectralProduct(*spectrum.shape[:3])
    return {"y": through(mixer, converted, x, config["layout"])}


def run_lsconv(config: dict[str, Any], weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """config: dim, groups, large_kernel, small_kernel, includes_residual, layout. The residual is our block's."""
    options = set_knobs(
        KINDS["lsconv"].options, kernel=config["large_kernel"], small=config["small_kernel"], groups=config["groups"]
    )
    mixer = find_part("mixers", "lsconv")(config["dim"], {"options": options})
    mixed = through(mixer, lsnet.convert_mixer(weights), x, config["layout"])
    return {"y": x + mixed if config.get("includes_residual", True) else mixed}


def run_van_block(config: dict[str, Any], weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """config: mlp_ratio, layout; the width is that of the weights."""
    block = {
        "kind": "attention",
        "attention": "lka",
        "position": "none",
        "ffn": "mlp_dw",
        "ffn_ratio": config["mlp_ratio"],
        "norm": "batch",
        "branch_scale": 0.01,
    }
    width = weights["layer_scale_1"].shape[0]
    module = make_block(width, block, 0.0).eval()
    module.load_state_dict(van.convert_block(weights))
    y = module(as_tokens(x, config["layout"]).permute(0, 3, 1, 2))
    return {"y": in_layout(y.permute(0, 2, 3, 1), config["layout"])}


def through(mixer: nn.Module, weights: Weights, x: torch.Tensor, layout: str) -> torch.Tensor:
    """What a mixer of tokens makes of x with these weights, in x's layout."""
    mixer.load_state_dict(weights)
    return in_layout(mixer.eval()(as_tokens(x, layout)), layout)


def as_tokens(x: torch.Tensor, layout: str) -> torch.Tensor:
    """(B, H, W, C) of a map with channels second (BCHW, NCHW) or last."""
    return x.permute(0, 2, 3, 1) if layout[1] == "C" else x


def in_layout(y: torch.Tensor, layout: str) -> torch.Tensor:
    """(B, H, W, C) as the layout has it."""
    return y.permute(0, 3, 1, 2) if layout[1] == "C" else y


RUNNERS = ((r"\bgnconv\b", run_gnconv), (r"\bLSConv\b", run_lsconv), (r"\bVAN\b", run_van_block))
