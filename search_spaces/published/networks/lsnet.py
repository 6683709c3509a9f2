"""LSNet: large and small kernels in every second block."""

from collections.abc import Sequence

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network

LOCAL = BlockSpec("ffn", position="rep", ffn="mlp_bn", ffn_ratio=2, norm="none")


def _mixing(attention: str, heads: int = 0, head_dim: int = 0) -> BlockSpec:
    return BlockSpec(
        "attention", attention=attention, heads=heads, head_dim=head_dim, ffn="mlp_bn", ffn_ratio=2, norm="none"
    )


def lsnet(stem_width: int, widths: Sequence[int], depths: Sequence[int]) -> Architecture:
    """Local blocks and large and small kernels in turn, behind a stem of stride 8; four heads of attention instead of
    the kernels in the last stage. The published first stage has no block, so that its width is the stem's."""
    stages = []
    for width, depth in zip(widths, depths, strict=True):
        mixing = _mixing("levit", 4, width // 4) if width == widths[-1] else _mixing("lsconv")
        stages.append(StageSpec(width, "separable_bn", 2, (LOCAL, mixing) * (depth // 2)))
    return network(StemSpec("conv8", stem_width, "batch"), stages, "batch_pooled")


_SOURCE = "LSNet (arXiv 2503.23135), built from its formulas"

PRESETS = {"lsnet_t": Preset(lsnet(64, (128, 256, 384), (2, 8, 10)), _SOURCE, 11_409_832, 0.0)}
