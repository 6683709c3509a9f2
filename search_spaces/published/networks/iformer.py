"""Inception Transformer: convolution, maximum and attention on channels of their own, more attention with depth."""

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.kinds.inception import KNOBS
from search_spaces.architecture.knobs import set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network


def _block(width: int, heads: int, attended: int, stage: int) -> BlockSpec:
    """A block in which so many heads attend."""
    return BlockSpec(
        "attention",
        attention="inception",
        heads=heads,
        head_dim=width // heads,
        ffn="mlp",
        ffn_ratio=4,
        options=set_knobs(KNOBS, attended=round(100 * attended / heads), pool=2 if stage < 2 else 1),
        branch_scale=1e-6 if stage > 1 else 0.0,
    )


def iformer_small() -> Architecture:
    """The small network: of 3, 6, 10 and 12 heads attend 1, 3, 7 and later 9, and 11."""
    widths = (96, 192, 320, 384)
    heads = (3, 6, 10, 12)
    attended = ((1,) * 3, (3,) * 3, (7, 7, 7, 7, 9, 9, 9, 9, 9), (11,) * 3)
    stages = []
    for index, (width, count, counts) in enumerate(zip(widths, heads, attended, strict=True)):
        downsample, stride = ("conv_bn", 2) if index else ("none", 1)
        norm = "layer" if index == len(widths) - 1 else ""
        blocks = tuple(_block(width, count, number, index) for number in counts)
        stages.append(StageSpec(width, downsample, stride, blocks, norm, position="map"))
    return network(StemSpec("conv_gelu", widths[0], "batch"), stages, "none")


PRESETS = {
    "iformer_small": Preset(
        iformer_small(),
        "Inception Transformer (arXiv 2205.12956) and its released code",
        19_866_344,
        0.0,
        converter="iformer",
    )
}
