"""Single-head self-attention: SHViT's, on a part of the channels."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, MixerKind
from search_spaces.architecture.knobs import Integer
from search_spaces.architecture.tally import Tally, conv_norm, norm, total

RULE = 0
"""What `pdim` is where none is named: 3 C / 14, rounded down."""
KNOBS = {"pdim": Integer(first=RULE), "qk_dim": Integer(first=16)}


def _sizes(block: BlockSpec, width: int) -> tuple[int, int]:
    """Channels that attend, and those of queries and keys."""
    options = dict(block.options)
    return int(options.get("pdim", 3 * width // 14)), int(options.get("qk_dim", KNOBS["qk_dim"].first))


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    pdim, qk_dim = _sizes(block, width)
    return total(
        norm("layer", pdim, positions),
        conv_norm(pdim, 2 * qk_dim + pdim, 1, positions),
        (0, positions * positions * (qk_dim + pdim)),
        conv_norm(width, width, 1, positions),
    )


def _problem(block: BlockSpec, width: int) -> str:
    pdim, _ = _sizes(block, width)
    return "" if 0 < pdim < width else f"pdim {pdim} of {width} channels; expected from 1 to {width - 1}"


KIND = MixerKind(
    rank=18,
    role=ATTENTION,
    symbol="Sh",
    colour="#f1948a",
    label="single-head attention",
    fields=(),
    costs=_costs,
    options=KNOBS,
    problem=_problem,
    is_quadratic=True,
)
