"""GLNet: clusters of positions attend to each other beside convolutions; then full attention, by turns and alone."""

from collections.abc import Sequence

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network


def glnet(widths: Sequence[int], depths: Sequence[int]) -> Architecture:
    """GLMix in two stages, by turns with full attention in the third, full attention in the last."""
    stages = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        pair = (("glmix", "glmix"), ("glmix", "glmix"), ("glmix", "full"), ("full", "full"))[index]
        blocks = tuple(_block(width, pair[number % 2]) for number in range(depth))
        stages.append(StageSpec(width, "conv_bn" if index else "none", 2 if index else 1, blocks))
    return network(StemSpec("conv_gelu", widths[0], "batch"), stages, "batch")


def _block(width: int, attention: str) -> BlockSpec:
    return BlockSpec(
        "attention",
        attention=attention,
        heads=width // 32,
        head_dim=32,
        position="cpe",
        ffn="mlp_cpe",
        ffn_ratio=3,
    )


PRESETS = {
    "glnet_4g": Preset(
        glnet((64, 128, 256, 512), (4, 4, 18, 4)),
        "GLNet (arXiv 2411.14429) and its released code",
        27_001_593,
        0.0,
        converter="glnet",
    ),
}
