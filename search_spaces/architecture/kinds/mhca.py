"""Multi-head convolutional attention: a grouped convolution in the place of attention."""

import math

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import CONV, EFFICIENT, MixerKind, Place
from search_spaces.architecture.knobs import Integer, Knobs, Options, set_knobs
from search_spaces.architecture.tally import Tally, multi_head_conv

PUBLISHED_HEAD_DIM = 32
_OPTIONS: Knobs = {"head_dim": Integer(PUBLISHED_HEAD_DIM)}


def _head_dim(block: BlockSpec) -> int:
    return int(dict(block.conv_options).get("head_dim", PUBLISHED_HEAD_DIM))


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    return multi_head_conv(width, _head_dim(block), positions)


def _problem(block: BlockSpec, width: int) -> str:
    head_dim = _head_dim(block)
    return f"heads of {head_dim} channels in {width}; expected a divisor" if width % head_dim else ""


def _searched(place: Place) -> Options:
    return set_knobs(_OPTIONS, head_dim=math.gcd(PUBLISHED_HEAD_DIM, place.width))


KIND = MixerKind(
    rank=29,
    role=CONV,
    symbol="H",
    colour="#aeb6bf",
    label="multi-head convolution",
    fields=(),
    costs=_costs,
    options=_OPTIONS,
    searched=_searched,
    problem=_problem,
    sets=(EFFICIENT,),
)
