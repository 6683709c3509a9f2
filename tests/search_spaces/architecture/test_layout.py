"""Architectures as people read them."""

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.layout import block_symbol, layout_text

CONV = BlockSpec("conv", conv="dwconv", kernel=7, conv_ratio=4)
MIX = BlockSpec("attention", attention="group_mix", heads=8, head_dim=8, group_sizes=(1, 3, 5, 7), conv_branch=True)
SERIAL = BlockSpec("fused_serial", conv="mbconv", kernel=3, conv_ratio=4, attention="full", heads=4, head_dim=40)
PARALLEL = BlockSpec("fused_parallel", conv="dwconv", kernel=5, attention="lka")


def test_a_block_has_a_short_name() -> None:
    assert [block_symbol(block) for block in (CONV, MIX, SERIAL, PARALLEL)] == ["D7", "G1357", "M3>F", "D5+L"]


def test_layout_is_one_readable_line() -> None:
    stages = (StageSpec(80, "none", 1, (CONV, MIX)), StageSpec(160, "separable", 2, (SERIAL,)))
    assert layout_text(StemSpec("conv", 80, "batch"), stages) == "conv stem | 80: D7 G1357 | 160: M3>F"
