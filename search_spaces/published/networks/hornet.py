"""HorNet: recursive gated convolutions in every block."""

from collections.abc import Sequence

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.kinds.gnconv import KNOBS
from search_spaces.architecture.knobs import set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.published.preset import Preset, network


def hornet(widths: Sequence[int], depths: Sequence[int], filters: Sequence[str] = ("local",) * 4) -> Architecture:
    """Recursive gated convolutions of order 2, 3, 4, 5 by stage and a feed-forward, each with a layer scale."""
    stages = []
    for index, (width, depth, used) in enumerate(zip(widths, depths, filters, strict=True)):
        block = BlockSpec(
            "attention",
            attention="gnconv",
            ffn="mlp",
            ffn_ratio=4,
            options=set_knobs(KNOBS, order=index + 2, filter=used),
            branch_scale=1e-6,
        )
        downsample, stride = ("patchify", 2) if index else ("none", 1)
        stages.append(StageSpec(width, downsample, stride, (block,) * depth))
    return network(StemSpec("patchify", widths[0], "layer"), stages, "layer")


_TINY = ((64, 128, 256, 512), (2, 3, 18, 2))
_SOURCE = "HorNet (arXiv 2207.14284) and its released code"

PRESETS = {
    "hornet_tiny": Preset(hornet(*_TINY), _SOURCE, 22_409_512, 0.0, converter="hornet"),
    "hornet_tiny_gf": Preset(
        hornet(*_TINY, ("local", "local", "global", "global")), _SOURCE, 22_991_848, 0.0, converter="hornet"
    ),
}
