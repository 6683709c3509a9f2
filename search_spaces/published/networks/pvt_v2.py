"""PVTv2: attention over a reduced map in every block."""

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network


def pvt_v2(widths: tuple[int, ...], heads: tuple[int, ...], depths: tuple[int, ...]) -> Architecture:
    """Four stages with reductions by 8, 4, 2 and 1, and feed-forwards of 8, 8, 4 and 4 times the width."""
    stages = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        block = BlockSpec(
            "attention",
            attention="pooled",
            heads=heads[index],
            head_dim=width // heads[index],
            ffn="mlp_dw",
            ffn_ratio=(8, 8, 4, 4)[index],
            options=set_knobs(KINDS["pooled"].options, ratio=(8, 4, 2, 1)[index]),
        )
        downsample = "none" if index == 0 else "overlap_pvt"
        stages.append(StageSpec(width, downsample, 1 if index == 0 else 2, (block,) * depth, norm="layer"))
    return network(StemSpec("overlap", widths[0], "layer_1e-5"), stages, "none")


PRESETS = {
    "pvt_v2_b0": Preset(
        pvt_v2((32, 64, 160, 256), (1, 2, 5, 8), (2, 2, 2, 2)),
        "PVTv2-B0 (arXiv 2106.13797) as in timm",
        3_666_760,
        0.0,
        converter="pvt_v2",
    ),
}
