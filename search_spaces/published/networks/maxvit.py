"""MaxViT: MBConv, then attention in windows, then over a grid, in every block. Imports no torch."""

from collections.abc import Mapping, Sequence

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.ffns.registry import FFNS
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network

HEAD_DIM = 32


def maxvit(stem_width: int, widths: Sequence[int], depths: Sequence[int]) -> Architecture:
    """A block of the paper is three of ours; the first convolution of each stage is its downsampling. Windows and grids
    have 7 x 7 positions."""
    form = set_knobs(KINDS["mbconv"].options, form="maxvit")
    convolution = BlockSpec("conv", conv="mbconv", kernel=3, conv_ratio=4, se_ratio=0.25, conv_options=form)
    stages = []
    for width, depth in zip(widths, depths, strict=True):
        attention = (_attention("window", width), _attention("grid", width))
        blocks = attention + (convolution, *attention) * (depth - 1)
        stages.append(StageSpec(width, "mbconv_maxvit", 2, blocks))
    return network(StemSpec("maxvit", stem_width, "batch_1e-3"), stages, "maxvit")


def _attention(mixer: str, width: int) -> BlockSpec:
    return BlockSpec(
        "attention",
        attention=mixer,
        heads=width // HEAD_DIM,
        head_dim=HEAD_DIM,
        ffn="mlp",
        ffn_ratio=4,
        ffn_options=set_knobs(FFNS["mlp"].options, act="gelu_tanh"),
        norm="layer_1e-5",
    )


PRESETS: Mapping[str, Preset] = {
    "maxvit_tiny": Preset(
        maxvit(64, (64, 128, 256, 512), (2, 2, 5, 2)),
        "MaxViT-T (arXiv 2204.01697) as in timm",
        30_916_528,
        0.0,
        converter="maxvit",
    )
}
