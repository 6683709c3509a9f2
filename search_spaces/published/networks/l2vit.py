"""L2ViT: window attention and linear attention in turns, the linear one with local concentration behind it."""

from collections.abc import Sequence
from itertools import chain

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, attention_block, network

NORM = "layer_1e-5"


def l2vit(widths: Sequence[int], depths: Sequence[int]) -> Architecture:
    """Heads of 32 channels; windows of 7 x 7 without positions of their own, padded with zeros that are attended."""
    stages = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        turns = (window_block(width, width // 32), linear_block(width, width // 32))
        blocks = tuple(chain.from_iterable(turns[number % 2] for number in range(depth)))
        norm = NORM if index == len(widths) - 1 else ""
        stages.append(StageSpec(width, "patchify_davit" if index else "none", 2 if index else 1, blocks, norm))
    return network(StemSpec("conv_relu_norm", widths[0], "batch"), stages, "none")


def window_block(width: int, heads: int, ratio: int = 4) -> tuple[BlockSpec, BlockSpec]:
    """An even block of the source: window attention, then a feed-forward, each behind a position term."""
    options = set_knobs(KINDS["window"].options, bias="none", padding="zero")
    feed = BlockSpec("ffn", position="cpe", ffn="mlp", ffn_ratio=ratio, norm=NORM)
    return attention_block("window", width, heads, options, NORM, position="cpe"), feed


def linear_block(width: int, heads: int, ratio: int = 4) -> tuple[BlockSpec, BlockSpec]:
    """An odd block of the source: linear attention, local concentration, feed-forward, each with a residual."""
    rest = BlockSpec("attention", attention="concentration", ffn="mlp", ffn_ratio=ratio, norm=NORM)
    return attention_block("linear", width, heads, (), NORM, position="cpe"), rest


PRESETS = {
    "l2vit_tiny": Preset(
        l2vit((96, 192, 384, 768), (2, 2, 6, 2)),
        "L2ViT (arXiv 2501.16182) and its released code",
        28_596_781,
        0.0,
        converter="l2vit",
    ),
}
