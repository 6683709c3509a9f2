"""A network in one readable line, for people. Imports no torch."""

from collections.abc import Iterable, Mapping

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.kinds.registry import KINDS

JOINTS: Mapping[str, str] = {"fused_serial": ">", "fused_parallel": "+"}
"""Kind of a fused block -> what stands between its convolution and its attention."""

FFN_SYMBOL = "f"
"""Short name of a block that is a feed-forward alone."""


def block_symbol(block: BlockSpec) -> str:
    """Short name of a block: M3, D7, K, G1357, F, M3>K, D5+F."""
    conv = f"{KINDS[block.conv].symbol}{block.kernel or ''}" if block.conv else ""
    if block.kind == "ffn":
        return FFN_SYMBOL
    attention = KINDS[block.attention].symbol if block.attention else ""
    segments = "".join(map(str, block.group_sizes))
    return f"{conv}{JOINTS.get(block.kind, '')}{attention}{segments}"


def layout_text(stem: StemSpec, stages: Iterable[StageSpec]) -> str:
    """Stem, then width and block symbols of each stage."""
    return " | ".join((f"{stem.kind} stem", *map(_stage_text, stages)))


def _stage_text(stage: StageSpec) -> str:
    return f"{stage.width}: {' '.join(map(block_symbol, stage.blocks))}"
