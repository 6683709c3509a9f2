"""What a drawing shows of each block; that there is a box for each is part of the contract of spaces."""

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.drawing import draw
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture

PARALLEL = BlockSpec(
    "fused_parallel", conv="dwconv", kernel=5, attention="full", heads=2, head_dim=16, ffn="mlp", ffn_ratio=2
)


def test_a_fused_block_has_both_colours_and_the_legend_each_mixer_once() -> None:
    stage = StageSpec(32, "none", 1, (PARALLEL, PARALLEL))
    svg = draw(Architecture(StemSpec("conv", 32, "batch"), (stage,), "batch", 32, 3, 10))
    for name, kind in KINDS.items():
        assert svg.count(f">{kind.label}<") == (name in ("dwconv", "full"))
        assert svg.count(kind.colour) == (3 if name in ("dwconv", "full") else 0), "two boxes and the legend"
    assert svg.count(">D5+F<") == 2
