"""Two linear layers with an activation between."""

from typing import Any

from timm.layers.mlp import Mlp

from search_spaces.network.layers.activations import ACTIVATIONS
from search_spaces.network.parts import part


@part("ffns", "mlp")
class PlainMlp(Mlp):
    """Linear C -> rC, activation, linear rC -> C; r is the block's `ffn_ratio`.

    (B, H, W, C) -> (B, H, W, C). The knob `act` names the activation: GELU, exact or by tanh, or ReLU.
    """

    def __init__(self, width: int, block: dict[str, Any]) -> None:
        options = dict(block.get("ffn_options", ()))
        act: Any = ACTIVATIONS[options.get("act", "gelu")]
        super().__init__(width, block["ffn_ratio"] * width, act_layer=act)
