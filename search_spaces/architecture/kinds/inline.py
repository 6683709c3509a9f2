"""InLine attention: linear, its weights normalised by subtraction."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, HEADS, MixerKind
from search_spaces.architecture.tally import Tally, conv, linear, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    products = 2 * positions * width * block.head_dim
    kernels = (conv(width, width, 1, 1, groups=block.heads), conv(width, 9 * width, 1, 1, groups=block.heads))
    around = (linear(width, 3 * width, positions), linear(width, width, positions))
    return total(*around, *kernels, (0, products + 9 * positions * width))


KIND = MixerKind(
    rank=15,
    role=ATTENTION,
    symbol="In",
    colour="#f8c471",
    label="InLine attention",
    fields=HEADS,
    costs=_costs,
    options={"phi": ("identity", "relu", "leakyrelu", "exp")},
    sets=(EFFICIENT,),
)
