"""BiFormer: regions attend to regions, of which more are read from stage to stage."""

from collections.abc import Sequence

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import Options, set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network

WHOLE_HEADS = 8
"""Heads of the last stage, whatever its width."""


def biformer(widths: Sequence[int], depths: Sequence[int]) -> Architecture:
    """Three stages that read 1, 4 and 16 of 49 regions, with heads of 32 channels, and one of full attention."""
    knobs = KINDS["bra"].options
    stages = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        is_last = index == len(widths) - 1
        options = set_knobs(knobs, scope="whole") if is_last else set_knobs(knobs, topk=4**index)
        block = _block(width, WHOLE_HEADS if is_last else width // 32, options)
        stages.append(StageSpec(width, "conv_bn" if index else "none", 2 if index else 1, (block,) * depth))
    return network(StemSpec("conv_gelu", widths[0], "batch"), stages, "batch")


def _block(width: int, heads: int, options: Options) -> BlockSpec:
    return BlockSpec(
        "attention",
        attention="bra",
        heads=heads,
        head_dim=width // heads,
        position="cpe",
        ffn="mlp",
        ffn_ratio=3,
        options=options,
    )


_SOURCE = "BiFormer (arXiv 2303.08810) and its released code"

PRESETS = {
    "biformer_tiny": Preset(
        biformer((64, 128, 256, 512), (2, 2, 8, 2)), _SOURCE, 13_142_760, 0.0, converter="biformer"
    ),
}
