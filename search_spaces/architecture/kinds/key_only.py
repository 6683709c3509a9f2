"""Key-only attention: linear in the number of positions."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, CORE, EFFICIENT, HEADS, MixerKind
from search_spaces.architecture.tally import Tally, linear, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
    options = dict(block.options)
    outputs = width if options.get("gate") == "channel" else block.heads
    if options.get("source") == "bottleneck":
        hidden = max(8, width // 8)
        gate = total(linear(width, hidden, positions), linear(hidden, outputs, positions, bias=False))
    else:
        # One weight per channel of the keys; a product with a vector per head counts as multiply-adds, a factor per
        # channel does not.
        gate = (width, 0 if options.get("gate") == "channel" else positions * width)
    bias = outputs if options.get("normaliser") == "sigmoid" else 0
    context = 0 if options.get("gate") == "channel" else positions * width
    projection = (0, 0) if options.get("projection") == "none" else linear(width, width, positions)
    return total(linear(width, 2 * width, positions), gate, (bias, context), projection)


KIND = MixerKind(
    rank=2,
    role=ATTENTION,
    symbol="K",
    colour="#f5b041",
    label="key-only attention",
    fields=HEADS,
    costs=_costs,
    options={
        "gate": ("head", "channel"),
        "source": ("linear", "bottleneck"),
        "normaliser": ("softmax", "sigmoid", "l2"),
        "combine": ("sigmoid_key", "relu_key", "key", "value", "add"),
        "projection": ("linear", "none"),
    },
    searched=lambda place: (("gate", "channel"), ("projection", "none")),
    sets=(CORE, EFFICIENT),
)
