"""TransNeXt: aggregated attention in three stages, cosine attention in the last."""

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network

HEAD_DIM = 24


def transnext(widths: tuple[int, ...], depths: tuple[int, ...]) -> Architecture:
    """Pooling by 8, 4 and 2, then all positions; gated feed-forwards of ratio 8, 8, 4 and 4."""
    stages = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        knobs = {"form": "cosine"} if index == 3 else {"ratio": (8, 4, 2)[index]}
        block = BlockSpec(
            "attention",
            attention="aggregated",
            heads=width // HEAD_DIM,
            head_dim=HEAD_DIM,
            ffn="conv_glu",
            ffn_ratio=(8, 8, 4, 4)[index],
            options=set_knobs(KINDS["aggregated"].options, **knobs),
        )
        downsample = "none" if index == 0 else "overlap_pvt"
        stages.append(StageSpec(width, downsample, 1 if index == 0 else 2, (block,) * depth, norm="layer"))
    return network(StemSpec("overlap", widths[0], "layer_1e-5"), stages, "none")


PRESETS = {
    "transnext_micro": Preset(
        transnext((48, 96, 192, 384), (2, 2, 15, 2)),
        "TransNeXt-Micro (arXiv 2311.17132)",
        12_809_304,
        0.0,
        converter="transnext",
    ),
    "transnext_tiny": Preset(
        transnext((72, 144, 288, 576), (2, 2, 15, 2)),
        "TransNeXt-Tiny (arXiv 2311.17132)",
        28_258_960,
        0.0,
        converter="transnext",
    ),
}
