"""VAN: large kernel attention in every block."""

from collections.abc import Sequence

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network


def van(widths: Sequence[int], depths: Sequence[int]) -> Architecture:
    """Large kernel attention and a convolved feed-forward, each behind BatchNorm and before a layer scale."""
    stages = []
    for index, (width, depth, ratio) in enumerate(zip(widths, depths, (8, 8, 4, 4), strict=True)):
        block = BlockSpec("attention", attention="lka", ffn="mlp_dw", ffn_ratio=ratio, norm="batch", branch_scale=0.01)
        downsample, stride = ("conv_bn", 2) if index else ("none", 1)
        stages.append(StageSpec(width, downsample, stride, (block,) * depth, norm="layer"))
    return network(StemSpec("overlap", widths[0], "batch"), stages, "none")


_SOURCE = "VAN (arXiv 2202.09741) and its released code"

PRESETS = {
    "van_b0": Preset(van((32, 64, 160, 256), (3, 3, 5, 2)), _SOURCE, 4_105_800, 0.0, converter="van"),
}
