"""Local concentration: two large depthwise convolutions."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, MixerKind
from search_spaces.architecture.knobs import Integer
from search_spaces.architecture.tally import Tally, depthwise, norm, total


def concentration(width: int, kernel: int, positions: int) -> Tally:
    """What the two convolutions cost, and the BatchNorm between them."""
    convs = (depthwise(width, kernel, positions), depthwise(width, kernel, positions))
    return total(*convs, norm("batch", width, positions))


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    return concentration(width, int(dict(block.options).get("kernel", 7)), positions)


def _problem(block: BlockSpec, width: int) -> str:
    kernel = int(dict(block.options).get("kernel", 7))
    return "" if kernel % 2 else f"kernel {kernel} of concentration; expected an odd number"


KIND = MixerKind(
    rank=30,
    role=ATTENTION,
    symbol="Lc",
    colour="#a3e4d7",
    label="local concentration",
    fields=(),
    costs=_costs,
    options={"kernel": Integer(7)},
    problem=_problem,
    sets=(EFFICIENT,),
)
