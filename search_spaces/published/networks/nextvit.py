"""Next-ViT: convolution blocks, and a transformer block at the end of each group of them.

Its blocks may change the width, and a stage of ours has one width. So a published stage is several of ours: blocks that
lie at one width, the attention of the transformer block among them, then `widen`, then its feed-forward.
"""

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network

HEAD_DIM = 32
RELU = (("act", "relu"),)


def feed_forward(ratio: int) -> BlockSpec:
    """1x1, ReLU, 1x1 behind a BatchNorm."""
    return BlockSpec("ffn", norm="batch", ffn="mlp", ffn_ratio=ratio, ffn_options=RELU)


def conv_blocks(width: int, depth: int) -> tuple[BlockSpec, ...]:
    """Convolution blocks, of two residual branches each; the first has no norm before it."""
    heads = width // HEAD_DIM
    mixer = BlockSpec("attention", attention="mhca", heads=heads, head_dim=HEAD_DIM, norm="none")
    return (mixer, feed_forward(3)) * depth


def group(width: int, depth: int, ratio: int, stride: int) -> tuple[StageSpec, StageSpec]:
    """Convolution blocks and one transformer block, which widens by a third; reduction of its keys by ratio^2."""
    form = "raster" if ratio > 1 else "convolved"  # without a reduction there is one form only
    attention = BlockSpec(
        "attention",
        attention="pooled",
        heads=width // HEAD_DIM,
        head_dim=HEAD_DIM,
        norm="batch",
        options=set_knobs(KINDS["pooled"].options, form=form, ratio=ratio),
    )
    narrow = StageSpec(width, "pointwise", stride, (*conv_blocks(width, depth), attention))
    return narrow, StageSpec(width * 4 // 3, "widen", 1, (feed_forward(2),))


def nextvit(repeats: int) -> Architecture:
    """Four published stages; the third has `repeats` groups."""
    first = StageSpec(96, "pointwise", 1, conv_blocks(96, 3))
    third = group(384, 4, 2, 2) + group(384, 4, 2, 1) * (repeats - 1)
    stages = [first, *group(192, 3, 4, 2), *third, *group(768, 2, 1, 2)]
    return network(StemSpec("conv4", 64, "batch"), stages, "batch")


PRESETS = {
    "nextvit_small": Preset(
        nextvit(2), "Next-ViT-S (arXiv 2207.05501) as in timm", 31_763_368, 0.0, converter="nextvit"
    ),
    "nextvit_base": Preset(
        nextvit(4), "Next-ViT-B (arXiv 2207.05501) as in timm", 44_818_856, 0.0, converter="nextvit"
    ),
}
