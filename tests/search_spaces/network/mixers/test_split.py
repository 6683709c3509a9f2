"""Additive, single-head, inception and partial attention, and full attention with gated positions."""

from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.costs import count_macs
from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.costs import costs
from search_spaces.architecture.ffns.registry import FFNS
from search_spaces.architecture.kinds.kind import Place
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture
from search_spaces.network.backbone import HybridBackbone
from search_spaces.network.layers.positions import PositionGate
from search_spaces.network.mixers.additive import SelfGate
from search_spaces.network.mixers.pat import ChannelGate, DistanceBias, distance_buckets
from search_spaces.network.parts import find_part
from tests.models import randomise
from tests.search_spaces.architecture.test_costs import count_parameters

Block = tuple[str, int, int, tuple[tuple[str, str], ...]]
CASES: dict[str, Block] = {
    "additive": ("additive", 0, 0, ()),
    "shsa": ("shsa", 0, 0, ()),
    "shsa, sizes": ("shsa", 0, 0, (("pdim", "12"), ("qk_dim", "8"))),
    "inception": ("inception", 4, 12, ()),
    "inception, no cells": ("inception", 4, 12, (("attended", "75"), ("pool", "1"))),
    "inception, all heads": ("inception", 4, 12, (("attended", "99"),)),
    "pat": ("pat", 0, 0, ()),
    "pat, self": ("pat", 0, 0, (("form", "self"),)),
    "pat, half": ("pat", 0, 0, (("division", "2"), ("form", "self"), ("heads", "3"))),
    "full, gated": ("full", 4, 12, (("form", "gated"),)),
}
"""Mixer, heads, head_dim and options, for 48 channels."""


def spec(case: str) -> BlockSpec:
    name, heads, head_dim, options = CASES[case]
    return BlockSpec("attention", attention=name, heads=heads, head_dim=head_dim, options=options)


def make(case: str) -> nn.Module:
    module: nn.Module = find_part("mixers", CASES[case][0])(48, asdict(spec(case)))
    return randomise(module)


def tokens(height: int, width: int) -> torch.Tensor:
    return torch.randn(2, height, width, 48, generator=torch.Generator().manual_seed(0))


def one_stage(block: BlockSpec, width: int = 48, image_size: int = 32) -> Architecture:
    return Architecture(
        StemSpec("conv", width, "batch"), (StageSpec(width, "none", 1, (block,)),), "layer", image_size, 3, 5
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (14, 14), (9, 13), (28, 28)])
def test_maps_of_any_sides_give_finite_outputs_and_gradients(case: str, height: int, width: int) -> None:
    module = make(case).train()
    x = tokens(height, width).requires_grad_()
    out = module(x)
    assert out.shape == x.shape
    out.square().mean().backward()
    assert torch.isfinite(out).all() and torch.isfinite(x.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


@pytest.mark.parametrize("case", ["additive", "shsa", "inception", "pat"])
def test_a_map_of_the_first_stage(case: str) -> None:
    with torch.inference_mode():
        assert torch.isfinite(make(case)(tokens(56, 56))).all()


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_is_near_float32(case: str) -> None:
    module = make(case)
    x = tokens(8, 6)
    with torch.no_grad():
        expected = module(x)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = module(x)
        half = module.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    for given in (mixed, half):
        assert (given.float() - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize("case", CASES)
def test_memory_format_does_not_matter(case: str) -> None:
    module = make(case)
    x = tokens(8, 6)
    channels_first = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    with torch.no_grad():
        torch.testing.assert_close(module(channels_first), module(x))
        torch.testing.assert_close(module.to(memory_format=torch.channels_last)(x), module(x))


@pytest.mark.parametrize("case", CASES)
def test_costs_are_those_of_the_module(case: str) -> None:
    architecture = one_stage(spec(case))
    assert Architecture.from_spec(architecture.to_spec()) == architecture
    assert costs(architecture).param_count == count_parameters(architecture)
    assert costs(architecture).macs == pytest.approx(count_macs(architecture), rel=0.001)


@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize(
    ("ffn", "options"),
    [("mlp_bn", ()), ("mlp_local", ()), ("mlp_pat", ()), ("mlp_pat", (("act", "relu"), ("gate", "spatial")))],
)
def test_costs_of_feed_forwards(ffn: str, options: tuple[tuple[str, str], ...], ratio: int) -> None:
    block = BlockSpec("ffn", ffn=ffn, ffn_ratio=ratio, ffn_options=options, norm="none")
    architecture = one_stage(block, width=27)
    assert ffn in FFNS and costs(architecture).param_count == count_parameters(architecture)
    assert costs(architecture).macs == count_macs(architecture)


@pytest.mark.parametrize("norm", ["batch", "batch_zero"])
def test_costs_of_a_depthwise_convolution_with_a_norm(norm: str) -> None:
    block = BlockSpec("conv", conv="dwconv", kernel=5, conv_options=(("norm", norm),))
    architecture = one_stage(block)
    assert costs(architecture).param_count == count_parameters(architecture)
    assert costs(architecture).macs == count_macs(architecture)


@pytest.mark.parametrize("width", [32, 40, 96])
@pytest.mark.parametrize("name", ["additive", "shsa", "inception", "pat"])
def test_what_a_search_sets_can_be_built(name: str, width: int) -> None:
    for stage, side in enumerate((56, 28, 14, 7)):
        heads = {"heads": width // 8, "head_dim": 8} if "heads" in KINDS[name].fields else {}
        options = KINDS[name].searched(Place(stage, side, width))
        block = BlockSpec("attention", attention=name, options=options, **heads)
        assert KINDS[name].problem(block, width) == ""
        architecture = one_stage(block, width)
        assert Architecture.from_spec(architecture.to_spec()) == architecture


@pytest.mark.parametrize(
    ("case", "width", "problem"),
    [
        (("shsa", 0, 0, (("pdim", "48"),)), 48, "pdim 48 of 48 channels; expected from 1 to 47"),
        (("inception", 9, 5, ()), 45, ""),
        (("inception", 4, 5, ()), 20, "5 of 20 channels that attend; expected an even number of others"),
        (("pat", 0, 0, (("form", "self"), ("heads", "5"))), 48, "5 heads for 36 channels; expected a divisor"),
        (("pat", 0, 0, (("heads", "2"),)), 48, "heads of form 'channel'; expected them with form 'self' only"),
    ],
)
def test_what_cannot_be_built_is_told(case: Block, width: int, problem: str) -> None:
    name, heads, head_dim, options = case
    block = BlockSpec("attention", attention=name, heads=heads, head_dim=head_dim, options=options)
    assert KINDS[name].problem(block, width) == problem


@pytest.mark.parametrize(
    ("case", "first", "last"), [("shsa, sizes", 0, 12), ("pat, self", 12, 48), ("inception", 36, 48)]
)
def test_only_the_channels_that_attend_reach_far_positions(case: str, first: int, last: int) -> None:
    module = make(case)
    x = tokens(12, 12)
    attends = torch.zeros(48, dtype=torch.bool)
    attends[first:last] = True
    with torch.no_grad():
        for channels, is_reached in ((attends, True), (~attends, False)):
            changed = x.clone()
            changed[:, 0, 0, channels] += torch.randn(int(channels.sum()))
            assert bool((module(changed) - module(x))[:, 11, 11].abs().max() > 1e-6) == is_reached


def test_additive_attention_meets_far_positions_through_one_mean_per_channel() -> None:
    gate = randomise(SelfGate(6))
    x = torch.randn(1, 6, 9, 9)
    with torch.no_grad():
        position = x * gate.position(gate.norm(gate.local(x)).relu()).sigmoid()
        channel = gate.channel(position.mean(dim=(2, 3), keepdim=True)).sigmoid()
        torch.testing.assert_close(gate(x), position * channel)


def test_cells_at_the_edge_hold_what_is_left() -> None:
    """An odd map gives what an even one does whose last row and column repeat the edge."""
    low = make("inception").low
    odd = torch.randn(1, 12, 5, 7)
    even = torch.nn.functional.pad(odd, (0, 1, 0, 1), mode="replicate")
    with torch.no_grad():
        torch.testing.assert_close(low(odd), low(even)[:, :, :5, :7])


def test_the_gate_of_a_constant_map_has_gradients() -> None:
    gate = randomise(ChannelGate(6)).train()
    x = torch.ones(3, 4, 4, 6, requires_grad=True)
    gate(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_distances_have_buckets_of_their_own_up_to_twenty() -> None:
    near = distance_buckets(torch.arange(21) ** 2, 40)
    assert near.tolist() == list(range(21))
    # 20 + 20 ln(d / 20) / ln 8, rounded: 22.05 at 24.8, 30 at 56.6, 40 from 160 on.
    assert distance_buckets(torch.tensor([25, 57, 159, 160, 500]) ** 2, 40).tolist() == [22, 30, 40, 40, 40]


def test_the_bias_of_two_positions_depends_on_their_distance_only() -> None:
    module = randomise(DistanceBias(2))
    bias = module(3, 5)[0].detach().view(2, 3, 5, 3, 5)
    table = module.bias_table.detach()
    torch.testing.assert_close(bias[:, 0, 1, 2, 0], table[:, 40 + 2])  # the root of 5
    torch.testing.assert_close(bias[:, 2, 0, 0, 1], table[:, 40 + 2])
    torch.testing.assert_close(bias[:, 1, 4, 1, 0], table[:, 40 + 4])


def test_gated_positions_begin_as_a_convolution() -> None:
    """With the gate open each of nine heads reads one neighbour, and the values are the input."""
    block = BlockSpec("attention", attention="full", heads=9, head_dim=4, options=(("form", "gated"),))
    torch.manual_seed(0)
    mixer = HybridBackbone(one_stage(block, 36).to_spec()).stages[0].blocks[0].mixer
    torch.testing.assert_close(mixer.qkv.weight[72:], torch.eye(36))
    assert mixer.qkv.weight[:72].std() < 0.03
    gate = mixer.gate
    gate.weight.data *= 50
    gate.gating.data.fill_(50.0)
    v = torch.randn(1, 9, 25, 4)
    with torch.no_grad():
        out = gate(torch.zeros_like(v), v, 5, 5).view(9, 5, 5, 4)
    values = v.view(9, 5, 5, 4)
    for head in range(9):
        dx = head // 3 - 1
        dy = head % 3 - 1
        torch.testing.assert_close(out[head, 2, 2], values[head, 2 + dy, 2 + dx])


def test_positions_mix_by_their_formula_on_a_map_that_is_not_square() -> None:
    gate = randomise(PositionGate(2))
    v = torch.randn(1, 2, 6, 3)
    content = torch.randn(1, 2, 6, 3)
    expected = torch.zeros_like(v)
    places = [(row, column) for row in range(2) for column in range(3)]
    for head in range(2):
        share = gate.gating[head].sigmoid()
        for query, (y, x) in enumerate(places):
            features = torch.tensor([[c - x, r - y, (c - x) ** 2 + (r - y) ** 2] for r, c in places]).float()
            weights = (features @ gate.weight[head] + gate.bias[head]).softmax(dim=0)
            expected[0, head, query] = (1 - share) * content[0, head, query] + share * (weights @ v[0, head])
    torch.testing.assert_close(gate(content, v, 2, 3), expected)


def test_full_attention_without_the_knob_has_the_names_that_were_recorded() -> None:
    module: Any = find_part("mixers", "full")(16, {"heads": 2, "head_dim": 8})
    assert list(module.state_dict()) == ["qkv.weight", "qkv.bias", "proj.weight", "proj.bias"]
