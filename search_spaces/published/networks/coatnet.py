"""CoAtNet: two stages of MBConv, two of full attention. Imports no torch."""

from collections.abc import Mapping, Sequence

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network

HEAD_DIM = 32


def coatnet(stem_width: int, widths: Sequence[int], depths: Sequence[int]) -> Architecture:
    """The first block of each stage is its downsampling; of the first attention the feed-forward stays a block."""
    form = set_knobs(KINDS["mbconv"].options, form="coatnet")
    convolution = BlockSpec("conv", conv="mbconv", kernel=3, conv_ratio=4, se_ratio=0.25, conv_options=form)
    fed = BlockSpec("ffn", ffn="mlp", ffn_ratio=4)
    stages = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if index < 2:
            stages.append(StageSpec(width, "mbconv_coatnet", 2, (convolution,) * (depth - 1)))
        else:
            stages.append(StageSpec(width, "attention_coatnet", 2, (fed, *(_attention(width),) * (depth - 1))))
    return network(StemSpec("coatnet", stem_width, "batch"), stages, "coatnet")


def _attention(width: int) -> BlockSpec:
    return BlockSpec(
        "attention",
        attention="full",
        heads=width // HEAD_DIM,
        head_dim=HEAD_DIM,
        position="relative",
        ffn="mlp",
        ffn_ratio=4,
    )


PRESETS: Mapping[str, Preset] = {
    "coatnet_0": Preset(
        coatnet(64, (96, 192, 384, 768), (2, 3, 5, 2)),
        "CoAtNet-0 (arXiv 2106.04803) as in timm",
        25_036_820,
        0.0,
        converter="coatnet",
    )
}
