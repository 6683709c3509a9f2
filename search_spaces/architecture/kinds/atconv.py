"""Attentive convolution: a depthwise convolution whose kernels are made from the whole map."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, EFFICIENT, MixerKind
from search_spaces.architecture.knobs import Integer
from search_spaces.architecture.tally import Tally, linear, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    taps = _kernel(block) ** 2
    param_count, macs = linear(taps, taps, width)
    layer = linear(width, width, positions)
    return total(layer, layer, layer, (param_count + width, macs), (0, taps * width * positions))


def _problem(block: BlockSpec, width: int) -> str:
    kernel = _kernel(block)
    return "" if kernel % 2 else f"the knob kernel as {kernel}; expected an odd number"


def _kernel(block: BlockSpec) -> int:
    return int(dict(block.options).get("kernel", 3))


KIND = MixerKind(
    rank=23,
    role=ATTENTION,
    symbol="At",
    colour="#f5cba7",
    label="attentive convolution",
    fields=(),
    costs=_costs,
    options={"kernel": Integer(3)},
    problem=_problem,
    sets=(EFFICIENT,),
)
