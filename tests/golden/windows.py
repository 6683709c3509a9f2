"""Window, grid, halo and neighbourhood attention, and the blocks of DaViT and L2ViT made of windows and channels."""

from typing import Any

import torch
from torch import nn

from search_spaces.converters import crossformer, davit, halonet, nat, windows
from search_spaces.network.blocks import make_block
from search_spaces.network.parts import find_part

Config = dict[str, Any]
Weights = dict[str, torch.Tensor]
Outputs = dict[str, torch.Tensor]


def _mixer(name: str, width: int, heads: int, options: dict[str, Any], weights: Weights) -> nn.Module:
    """A mixer of ours with these weights; an option may be at its first value."""
    chosen = [(knob, str(value)) for knob, value in options.items()]
    block = {"heads": heads, "head_dim": width // heads, "options": chosen}
    module: nn.Module = find_part("mixers", name)(width, block)
    module.load_state_dict(weights)
    return module.eval()


def _of_layout(module: nn.Module, layout: str, x: torch.Tensor) -> torch.Tensor:
    """A module of tokens, (B, H, W, C), on a map of either layout."""
    tokens = x if layout == "BHWC" else x.permute(0, 2, 3, 1)
    out: torch.Tensor = module(tokens)
    return out if layout == "BHWC" else out.permute(0, 3, 1, 2)


def _run_partition(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    heads = config["heads"]
    rows, columns = config["size"]
    kind = config["rel_pos_type"]
    options = {"rows": rows, "columns": columns, "sign": "key_query" if kind == "bias_tf" else "query_key"}
    if not kind:
        options["bias"] = "none"
    ours = windows.convert_mixer(weights)
    if kind == "bias":
        table = ours["bias.bias_table"]
        ours["bias.bias_table"] = table.t().reshape(heads, 2 * rows - 1, 2 * columns - 1)
    if config["head_first"]:
        ours["qkv.weight"] = _streams_first(ours["qkv.weight"], heads)
        ours["qkv.bias"] = _streams_first(ours["qkv.bias"], heads)
    name = {"block": "window", "grid": "grid"}[config["partition"]]
    return {"y": _of_layout(_mixer(name, config["dim"], heads, options, ours), config["layout"], x)}


def _streams_first(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows by head, then Q, K, V, then channel -> by Q, K, V, then head, then channel."""
    return rows.view(heads, 3, -1, *rows.shape[1:]).transpose(0, 1).flatten(0, 2)


def _run_crossformer(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    side = config["group_size"]
    options = {"rows": side, "columns": side, "bias": "dynamic"}
    name = "window"
    if config["lsda_flag"]:
        name = "grid"
        options["interval"] = config["interval"]
    module = _mixer(name, config["dim"], config["heads"], options, crossformer.convert_mixer(weights))
    return {"y": _of_layout(module, config["layout"], x)}


def _run_halo(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    heads = config["num_heads"]
    options = {
        "block": config["block_size"],
        "halo": config["halo_size"],
        "query_dim": weights["q.weight"].shape[0] // heads,
    }
    module = _mixer("halo", config["dim"], heads, options, halonet.convert_mixer(weights))
    return {"y": _of_layout(module, config["layout"], x)}


def _run_neighbourhood(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    options = {
        "kernel": config["kernel_size"],
        "dilation": config["dilation"],
        "bias": "table" if "rpb" in weights else "none",
    }
    module = _mixer("neighbourhood", config["dim"], config["heads"], options, nat.convert_mixer(weights))
    return {"y": _of_layout(module, config["layout"], x)}


def _run_spatial_block(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    side = str(config["window"])
    options = (("rows", side), ("columns", side), ("bias", "none"), ("padding", "zero"))
    return _run_block("window", options, config, weights, x)


def _run_l2vit_block(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    """Its names are DaViT's but for the positions'."""
    named = {name.replace("cpe.0.", "cpe1.").replace("cpe.1.", "cpe2."): value for name, value in weights.items()}
    return _run_spatial_block(config, named, x, inputs)


def _run_channel_block(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    return _run_block("channel_group", (("form", "released"),), config, weights, x)


def _run_block(
    attention: str, options: tuple[tuple[str, str], ...], config: Config, weights: Weights, x: torch.Tensor
) -> Outputs:
    """Attention and feed-forward, each behind a position term."""
    width = weights["norm1.weight"].shape[0]
    heads = config["heads"]
    shared = {"position": "cpe", "norm": "layer_1e-5"}
    mixer = {"attention": attention, "heads": heads, "head_dim": width // heads, "options": options, "ffn": "none"}
    first = make_block(width, {"kind": "attention", **shared, **mixer}, 0.0)
    second = make_block(width, {"kind": "ffn", **shared, "ffn": "mlp", "ffn_ratio": config["mlp_ratio"]}, 0.0)
    blocks = nn.Sequential(first, second).eval()
    # A setting of the authors leaves out the bias of Q, K and V.
    bias = {"0.mixer.qkv.bias": torch.zeros(3 * width)}
    blocks.load_state_dict(bias | davit.convert_block(weights))
    if config["layout"] == "NCHW":
        return {"y": blocks(x)}
    height, side = config["size"]
    out = blocks(x.view(x.shape[0], height, side, width).permute(0, 3, 1, 2))
    return {"y": out.permute(0, 2, 3, 1).reshape(x.shape)}


RUNNERS = (
    (r"PartitionAttentionCl", _run_partition),
    (r"CrossFormer", _run_crossformer),
    (r"HaloAttn", _run_halo),
    (r"Neighborhood", _run_neighbourhood),
    (r"DaViT.* SpatialBlock", _run_spatial_block),
    (r"DaViT.* ChannelBlock", _run_channel_block),
    (r"L2ViT.* LWABlock", _run_l2vit_block),
)
