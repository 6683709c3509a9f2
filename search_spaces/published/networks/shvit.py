"""SHViT: single-head attention on a part of the channels, behind a stem of stride 16."""

from collections.abc import Sequence

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network

START = (("norm", "batch_zero"),)


def _block(kind: str, attention: str = "", options: tuple[tuple[str, str], ...] = START) -> BlockSpec:
    """A depthwise convolution, attention where named, and a feed-forward."""
    return BlockSpec(
        kind,
        conv="dwconv",
        kernel=3,
        conv_options=options,
        attention=attention,
        ffn="mlp_bn",
        ffn_ratio=2,
        norm="none",
    )


def shvit(widths: Sequence[int], depths: Sequence[int]) -> Architecture:
    """Convolution blocks in the first stage, single-head attention in each block of the others.

    The source counts the blocks on both sides of a patch merging as parts of it; here they end and begin stages.
    """
    joint = _block("conv", options=(("norm", "batch"),))
    attending = _block("fused_serial", "shsa")
    first, *others = zip(widths, depths, strict=True)
    stages = [StageSpec(first[0], "none", 1, (*(_block("conv"),) * first[1], joint))]
    for width, depth in others:
        end = (joint,) if width != widths[-1] else ()
        stages.append(StageSpec(width, "merge", 2, (joint, *(attending,) * depth, *end)))
    return network(StemSpec("conv16", widths[0], "batch"), stages, "batch_pooled")


_SOURCE = "SHViT (arXiv 2401.16456) as in timm"

PRESETS = {
    "shvit_s1": Preset(shvit((128, 224, 320), (2, 4, 5)), _SOURCE, 6_330_808, 0.0, converter="shvit"),
}
