"""CAS-ViT: additive attention in every block."""

from collections.abc import Sequence

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network

BLOCK = (
    BlockSpec("ffn", ffn="mlp_local", ffn_ratio=1, norm="none"),
    BlockSpec("attention", attention="additive", ffn="mlp", ffn_ratio=4, norm="batch"),
)
"""One block of the source: local perception, additive attention, feed-forward."""


def casvit(widths: Sequence[int], depths: Sequence[int]) -> Architecture:
    """Additive attention with local perception before it and a feed-forward behind it; one head, for classes."""
    stages = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        downsample, stride = ("conv_bn", 2) if index else ("none", 1)
        stages.append(StageSpec(width, downsample, stride, BLOCK * depth))
    return network(StemSpec("conv_relu", widths[0], "batch"), stages, "batch")


_SOURCE = "CAS-ViT (arXiv 2408.03703) and its released code, with one head"

PRESETS = {
    "casvit_xs": Preset(casvit((48, 56, 112, 220), (2, 2, 4, 2)), _SOURCE, 2_979_700, 0.0, converter="casvit"),
}
