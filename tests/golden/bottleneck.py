"""Blocks of CoAtNet (timm's names) and MOAT (TensorFlow's)."""

from typing import Any

import torch
from torch import nn

from search_spaces.checkpoints import renamed
from search_spaces.converters.blocks import split_names
from search_spaces.converters.coatnet import BOTTLENECK_NAMES, convert_attention
from search_spaces.converters.moat import convert_block
from search_spaces.network.blocks import make_block
from search_spaces.network.downsamples.attention_coatnet import AttentionDownsample
from search_spaces.network.layers.bottleneck import PreNormBottleneck
from search_spaces.network.layers.halving import PooledShortcut
from search_spaces.network.layers.partition import from_windows, to_windows
from search_spaces.network.layers.positions import RelativePositionBias

Config = dict[str, Any]
Weights = dict[str, torch.Tensor]
Outputs = dict[str, torch.Tensor]


def _run_coatnet_bottleneck(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    return {"y": bottleneck("coatnet", renamed(weights, BOTTLENECK_NAMES), x, config["stride"])}


def bottleneck(form: str, weights: Weights, x: torch.Tensor, stride: int, pool: int = 2) -> torch.Tensor:
    """MBConv with its shortcut, of the sizes that the weights have."""
    expand = weights["bottleneck.expand.weight"]
    depthwise = weights["bottleneck.depthwise.weight"]
    width = len(weights["bottleneck.shrink.weight"])
    squeeze = weights.get("bottleneck.excite.fc1.bias", torch.empty(0))
    branch = PreNormBottleneck(
        expand.shape[1], width, form, depthwise.shape[2], len(expand) // width, len(squeeze), stride
    )
    shortcut = PooledShortcut(expand.shape[1], width, stride, pool)
    module = nn.ModuleDict({"bottleneck": branch, "shortcut": shortcut})
    module.load_state_dict(weights)
    module.eval()
    out: torch.Tensor = shortcut(x) + branch(x)
    return out


def _run_coatnet_attention(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    rows, columns = (side // config["stride"] for side in x.shape[2:])
    ours = convert_attention(weights, 2 * rows - 1)
    width = len(ours["mixer.proj.weight"])
    spec = attending(width, config["head_dim"], ffn="mlp", ffn_ratio=len(ours["ffn.fc1.weight"]) // width)
    if config["stride"] == 1:
        return {"y": _loaded(make_block(width, spec, 0.0), ours, rows, columns)(x)}
    fed, attended = split_names(ours, ("norm2.", "ffn."))
    strided = AttentionDownsample(x.shape[1], width, 2, rows, config["head_dim"])
    between = _loaded(strided, attended, rows, columns)(x)
    block = make_block(width, {**spec, "kind": "ffn", "position": "none"}, 0.0)
    return {"y": _loaded(block, fed, rows, columns)(between)}


def _loaded(module: nn.Module, weights: Weights, rows: int, columns: int) -> nn.Module:
    """The module with these weights; its table, where it has one, is that of a map of these sides."""
    if "mixer.bias.bias_table" in weights:
        mixer: Any = module.mixer
        mixer.bias = RelativePositionBias(mixer.heads, rows, columns, mixer.bias.mode)
    module.load_state_dict(weights)
    return module.eval()


def attending(width: int, head_dim: int, **fields: Any) -> dict[str, Any]:
    """A block with full attention and relative positions."""
    neutral = {"ffn": "none", "ffn_ratio": 0, "position": "relative", "map_size": 1}
    mixer = {"kind": "attention", "attention": "full", "heads": width // head_dim, "head_dim": head_dim}
    return mixer | neutral | fields


def _run_moat(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    ours = convert_block({name.removeprefix("moat/"): value for name, value in weights.items()})
    convolved, attended = split_names(ours, ("shortcut.", "bottleneck."))
    y = bottleneck("moat", convolved, x.permute(0, 3, 1, 2), config["stride"], config["pool_size"])
    side = config["position_embedding_size"]
    has_table = "mixer.bias.bias_table" in attended
    fields = {
        "norm": "layer_1e-5",
        "position": "relative" if has_table else "none",
        "options": [("resize", "bilinear")],
    }
    block = make_block(config["dim"], attending(config["dim"], config["head_size"], **fields), 0.0)
    block = _loaded(block, attended, side, side)
    return {"y": _in_windows(block, y, config["window_size"]).permute(0, 2, 3, 1)}


def _in_windows(block: nn.Module, x: torch.Tensor, window: list[int] | None) -> torch.Tensor:
    """The block on each window of a map (B, C, H, W), or on the whole map."""
    if window is None:
        whole: torch.Tensor = block(x)
        return whole
    rows, columns = window
    B, C, H, W = x.shape
    windows = to_windows(x.permute(0, 2, 3, 1), rows, columns)
    mixed = block(windows.reshape(-1, rows, columns, C).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return from_windows(mixed.reshape(B, -1, rows * columns, C), rows, columns, H, W).permute(0, 3, 1, 2)


RUNNERS = (
    (r"CoAtNet.*MbConvBlock", _run_coatnet_bottleneck),
    (r"CoAtNet.*TransformerBlock2d", _run_coatnet_attention),
    (r"MOATBlock", _run_moat),
)
