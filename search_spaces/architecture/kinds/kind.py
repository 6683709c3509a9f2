"""What a space, a drawing and the costs need to know of a mixer. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass, field

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.knobs import Knobs, Options
from search_spaces.architecture.tally import Tally

CONV = "conv"
ATTENTION = "attention"
HEADS = ("heads", "head_dim")
"""The fields that an attention with heads reads."""
CORE = "core"
EFFICIENT = "efficient"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block stands that a search makes."""

    stage: int
    """Counted from 0; a stage's map has half the sides of the one before."""
    map_size: int
    """Side of the stage's map, in positions."""
    width: int


def _nothing(place: Place) -> Options:
    return ()


def _no_problem(block: BlockSpec, width: int) -> str:
    return ""


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
    """The fields of a block that its module reads, besides the options."""
    costs: Callable[[BlockSpec, int, int], Tally]
    """(block, width, positions) -> parameters and multiply-adds of the module alone."""
    options: Knobs = field(default_factory=dict)
    """What `options` (of an attention) or `conv_options` (of a convolution) may set."""
    searched: Callable[[Place], Options] = _nothing
    """How the blocks of `hybrid_layout` set the knobs: by measurement, or by the source's rule of the stage's map."""
    problem: Callable[[BlockSpec, int], str] = _no_problem
    """(block, width) -> what keeps it from being built, and what is expected; "" for nothing."""
    sets: tuple[str, ...] = ()
    """The named sets of mixers that it belongs to, besides `all`."""
    is_quadratic: bool = False
    """Whether every position meets every other, so that it is not allowed on large maps."""
    onnx: str = ""
    """Why onnxruntime cannot run it; "" where it can."""
