"""What a space, a drawing and the costs need to know of a mixer. Imports no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.tally import Tally

CONV = "conv"
ATTENTION = "attention"
HEADS = ("heads", "head_dim")
"""The fields that an attention with heads reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixerKind:
    """One way to mix positions."""

    rank: int
    """Place among the mixers, and so of its name among the values of a gene. The hashes of spaces, and recorded studies
    with them, hang on this order: a rank never changes, and a new mixer takes one above all others."""
    role: str
    """conv: a residual branch with norms of its own, (B, C, H, W) -> (B, C, H, W). attention: takes normalised tokens,
    (B, H, W, C) -> (B, H, W, C). Also the gene of `hybrid_layout` that offers it."""
    symbol: str
    """Short name in layouts."""
    colour: str
    """Fill of its boxes in drawings."""
    label: str
    """Name in the legend of drawings."""
    fields: tuple[str, ...]
    """The fields of a block that its module reads."""
    costs: Callable[[BlockSpec, int, int], Tally]
    """(block, width, positions) -> parameters and multiply-adds of the module alone."""
    options: Mapping[str, tuple[str, ...]] | None = None
    """Knob -> its values, the first of which holds where a block names none."""
    searched: tuple[tuple[str, str], ...] = ()
    """The knobs that the blocks of `hybrid_layout` turn, chosen by measurement (docs/reference/space.md)."""
