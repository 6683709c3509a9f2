"""Networks of local attention, each beside something that reaches further: DaViT, CrossFormer, NAT."""

from collections.abc import Mapping, Sequence

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.knobs import Options
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, attention_block, network

NORM = "layer_1e-5"
WIDTHS = (64, 128, 256, 512)
HEADS = (2, 4, 8, 16)


def davit(widths: Sequence[int], heads: Sequence[int], pairs: Sequence[int]) -> Architecture:
    """Window attention and attention of channel groups in turns, each with a feed-forward; a position term before each
    of the four."""
    feed = BlockSpec("ffn", position="cpe", ffn="mlp", ffn_ratio=4, norm=NORM)
    stages = []
    for index, (width, count, pair_count) in enumerate(zip(widths, heads, pairs, strict=True)):
        window = attention_block("window", width, count, (("bias", "none"), ("padding", "zero")), NORM, position="cpe")
        channels = attention_block("channel_group", width, count, (("form", "released"),), NORM, position="cpe")
        blocks = (window, feed, channels, feed) * pair_count
        stages.append(StageSpec(width, "patchify_davit" if index else "none", 2 if index else 1, blocks))
    return network(StemSpec("overlap", widths[0], NORM), stages, "moat")


def crossformer(depths: Sequence[int], intervals: Sequence[int]) -> Architecture:
    """Windows of near and groups of far positions in turns, with a dynamic bias; near ones only where a window is the
    whole map."""
    stages = []
    for index, (width, heads, depth, interval) in enumerate(zip(WIDTHS, HEADS, depths, intervals, strict=True)):
        near = _fed("window", width, heads, 4, (("bias", "dynamic"),))
        far = _fed("grid", width, heads, 4, (("bias", "dynamic"), ("interval", str(interval))))
        turns = (near, near if interval == 1 else far)
        blocks = tuple(turns[number % 2] for number in range(depth))
        stages.append(_stage(index, width, "cross_scale", blocks))
    return network(StemSpec("cross_scale", WIDTHS[0], NORM), stages, "none")


def nat(depths: Sequence[int]) -> Architecture:
    """Neighbourhood attention of 7 x 7 and a feed-forward of three times the width in every block."""
    stages = []
    for index, (width, heads, depth) in enumerate(zip(WIDTHS, HEADS, depths, strict=True)):
        blocks = (_fed("neighbourhood", width, heads, 3, ()),) * depth
        stages.append(_stage(index, width, "overlap_nat", blocks))
    return network(StemSpec("two_convs", WIDTHS[0], NORM), stages, "none")


def _fed(name: str, width: int, heads: int, ratio: int, options: Options) -> BlockSpec:
    """Attention and a feed-forward."""
    return attention_block(name, width, heads, options, NORM, ffn="mlp", ffn_ratio=ratio)


def _stage(index: int, width: int, downsample: str, blocks: tuple[BlockSpec, ...]) -> StageSpec:
    """One of four stages, the last of which ends in a norm."""
    norm = NORM if index == 3 else ""
    return StageSpec(width, downsample if index else "none", 2 if index else 1, blocks, norm=norm)


PRESETS: Mapping[str, Preset] = {
    "davit_tiny": Preset(
        davit((96, 192, 384, 768), (3, 6, 12, 24), (1, 1, 3, 1)),
        "DaViT (arXiv 2204.03645) as in timm",
        28_360_168,
        0.0,
        converter="davit",
    ),
    "crossformer_tiny": Preset(
        crossformer((1, 1, 8, 6), (8, 4, 2, 1)),
        "CrossFormer (arXiv 2108.00154) and its released code",
        27_776_794,
        0.0,
        converter="crossformer",
    ),
    "nat_mini": Preset(
        nat((3, 4, 6, 5)), "NAT (arXiv 2204.07143) and its released code", 19_984_174, 0.0, converter="nat"
    ),
}
