"""Window and grid attention of timm's MaxViT."""

from typing import Any

import torch
from torch import nn

from search_spaces.checkpoints import renamed
from search_spaces.network.parts import find_part

Config = dict[str, Any]
Weights = dict[str, torch.Tensor]
Outputs = dict[str, torch.Tensor]
PARTITION_NAMES = ((r"rel_pos\.relative_position_bias_table", "bias.bias_table"), (r"(qkv|proj)\.", r"\1."))


def mixer(name: str, width: int, heads: int, options: dict[str, Any], weights: Weights) -> nn.Module:
    """A mixer of ours with these weights; an option may be at its first value."""
    chosen = [(knob, str(value)) for knob, value in options.items()]
    module: nn.Module = find_part("mixers", name)(
        width, {"heads": heads, "head_dim": width // heads, "options": chosen}
    )
    module.load_state_dict(weights)
    return module.eval()


def _run_partition(config: Config, weights: Weights, x: torch.Tensor, inputs: Weights) -> Outputs:
    heads = config["heads"]
    rows, columns = config["size"]
    kind = config["rel_pos_type"]
    options = {"rows": rows, "columns": columns, "sign": "key_query" if kind == "bias_tf" else "query_key"}
    ours = renamed(weights, PARTITION_NAMES)
    if kind == "bias":
        table = ours["bias.bias_table"]
        ours["bias.bias_table"] = table.t().reshape(heads, 2 * rows - 1, 2 * columns - 1)
    if config["head_first"]:
        ours["qkv.weight"] = _streams_first(ours["qkv.weight"], heads)
        ours["qkv.bias"] = _streams_first(ours["qkv.bias"], heads)
    name = {"block": "window", "grid": "grid"}[config["partition"]]
    if not kind:
        options = {"rows": rows, "columns": columns, "bias": "none"}
    return {"y": mixer(name, config["dim"], heads, options, ours)(x)}


def _streams_first(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows by head, then Q, K, V, then channel -> by Q, K, V, then head, then channel."""
    return rows.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)


RUNNERS = ((r"PartitionAttentionCl", _run_partition),)
