"""MOAT: two stages of MBConv, two in which MBConv stands before attention in one block. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network

HEAD_DIM = 32
CONVOLUTION = BlockSpec(
    "conv",
    conv="mbconv",
    kernel=3,
    conv_ratio=4,
    se_ratio=0.25,
    conv_options=set_knobs(KINDS["mbconv"].options, form="moat"),
)


def moat(stem_width: int, widths: Sequence[int], depths: Sequence[int], has_tables: bool = True) -> Architecture:
    """The first convolution of each stage is its downsampling. Blocks that attend have no squeeze-and-excitation and no
    feed-forward.

    has_tables: learned biases of relative positions.
    """
    stages = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if index < 2:
            stages.append(StageSpec(width, "mbconv_moat", 2, (CONVOLUTION,) * (depth - 1)))
        else:
            attention = _attention(width, has_tables)
            fused = replace(
                attention,
                kind="fused_serial",
                conv="mbconv",
                kernel=3,
                conv_ratio=4,
                conv_options=CONVOLUTION.conv_options,
            )
            stages.append(StageSpec(width, "mbconv_moat_plain", 2, (attention, *(fused,) * (depth - 1))))
    return network(StemSpec("moat", stem_width, "batch_1e-3"), stages, "moat")


def _attention(width: int, has_tables: bool) -> BlockSpec:
    return BlockSpec(
        "attention",
        attention="full",
        heads=width // HEAD_DIM,
        head_dim=HEAD_DIM,
        position="relative" if has_tables else "none",
        options=set_knobs(KINDS["full"].options, resize="bilinear") if has_tables else (),
        norm="layer_1e-5",
    )


DEPTHS = (2, 3, 7, 2)
TINY = (32, 64, 128, 256)
SOURCE = "MOAT (arXiv 2210.01820) and its released code"

PRESETS: Mapping[str, Preset] = {
    "moat_tiny_0": Preset(moat(32, TINY, DEPTHS, has_tables=False), SOURCE, 3_332_232, 0.0, converter="moat"),
    "moat_tiny_0_tables": Preset(moat(32, TINY, DEPTHS), SOURCE, 3_355_348, 0.0, converter="moat"),
    "moat_0": Preset(moat(64, (96, 192, 384, 768), DEPTHS), SOURCE, 27_846_892, 0.0, converter="moat"),
}
