"""PartialNet's feed-forward, with or without a gate over positions at its end."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.ffns.kind import FfnKind
from search_spaces.architecture.tally import Tally, conv_norm, linear, norm, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    hidden = block.ffn_ratio * width
    parts = [conv_norm(width, hidden, 1, positions), linear(hidden, width, positions, bias=False)]
    if ("gate", "spatial") in block.ffn_options:
        half = width // 2
        rest = width - half
        parts += [
            linear(half, 1, positions, bias=False),
            norm("batch", width, positions),
            linear(rest, rest, positions, bias=False),
        ]
    return total(*parts)


KIND = FfnKind(rank=8, costs=_costs, options={"act": ("gelu", "relu"), "gate": ("none", "spatial")})
