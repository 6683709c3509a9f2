"""What the costs and a space need to know of a feed-forward. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass, field

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.knobs import Knobs
from search_spaces.architecture.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class FfnKind:
    """One way to mix channels."""

    rank: int
    """Place of its name among the values of a gene; see MixerKind."""
    costs: Callable[[BlockSpec, int, int], Tally]
    """(block, width, positions) -> parameters and multiply-adds of the module alone; `ffn_ratio` is its expansion."""
    options: Knobs = field(default_factory=dict)
    """What `ffn_options` may set."""
    is_searched: bool = False
    """Whether a set of more than the frame's feed-forwards has it."""
