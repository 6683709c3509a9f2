"""gnconv, lsconv and what LSNet has besides: sizes, formats, closed forms, and what their formulas promise.

Golden data stand in test_golden.py.
"""

from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.costs import count_macs
from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.costs import costs
from search_spaces.architecture.kinds.kind import Place
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import Options, set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.network.layers.mirrored_bias import MirroredPositionBias
from search_spaces.network.layers.rep_position import RepPosition
from search_spaces.network.mixers.gnconv import SpectralProduct
from search_spaces.network.mixers.lsconv import weigh_neighbours
from search_spaces.network.parts import find_part
from search_spaces.published.networks.lsnet import lsnet
from tests.models import randomise
from tests.search_spaces.architecture.test_costs import count_parameters

SIDE = 14
"""Of the map that the mixers are made for."""
FORMS: dict[str, tuple[str, Options]] = {
    "gnconv": ("gnconv", ()),
    "gnconv of order 4": ("gnconv", (("order", "4"),)),
    "gnconv of order 1, 5x5": ("gnconv", (("kernel", "5"), ("order", "1"))),
    "gnconv, global": ("gnconv", (("filter", "global"), ("order", "3"))),
    "lsconv": ("lsconv", ()),
    "levit": ("levit", ()),
    "levit, other widths": ("levit", (("qk_dim", "8"),)),
    "lsconv, other sizes": ("lsconv", (("groups", "4"), ("kernel", "5"), ("small", "5"))),
}


def make(form: str, width: int = 32) -> nn.Module:
    name, options = FORMS[form]
    block = {"options": options, "map_size": SIDE, "heads": 4, "head_dim": width // 4}
    module: nn.Module = find_part("mixers", name)(width, block)
    return module


def tokens(height: int, width: int, channels: int = 32) -> torch.Tensor:
    return torch.randn(2, height, width, channels, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(8, 8), (14, 14), (56, 56), (6, 9), (1, 1)])
def test_every_map_gives_a_map_and_gradients(form: str, size: tuple[int, int]) -> None:
    module = make(form).train()
    out = module(tokens(*size))
    assert out.shape == (2, *size, 32)
    out.square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_and_channels_last_change_rounding_only(form: str) -> None:
    module = make(form).eval()
    x = tokens(14, 10)
    with torch.no_grad():
        expected = module(x)
        size = float(expected.abs().max())
        strided = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
        torch.testing.assert_close(module(strided), expected, rtol=1e-5, atol=1e-5 * size)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(module(x).float(), expected, rtol=0.1, atol=0.05 * size)
        half = module.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.1, atol=0.05 * size)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("width", [32, 48, 80])
def test_parameters_are_those_of_the_closed_form(form: str, width: int) -> None:
    name, options = FORMS[form]
    heads = {"heads": 4, "head_dim": width // 4} if name == "levit" else {}
    block = BlockSpec("attention", attention=name, options=options, **heads)
    assert KINDS[name].problem(block, width) == ""
    built = sum(parameter.numel() for parameter in make(form, width).parameters())
    assert KINDS[name].costs(block, width, SIDE**2)[0] == built


@pytest.mark.parametrize("width", [32, 64])
def test_parameters_are_the_published_ones(width: int) -> None:
    steps = (width // 4, width // 2, width)
    lifts = sum(first * second + second for first, second in pairwise(steps))
    gated = 3 * width**2 + 3 * width + 50 * sum(steps) + lifts
    assert KINDS["gnconv"].costs(_block("gnconv", order=3), width, 1)[0] == gated
    assert KINDS["lsconv"].costs(_block("lsconv"), width, 1)[0] == 21 * width**2 // 16 + 263 * width // 8


def _block(name: str, **values: str | int) -> BlockSpec:
    return BlockSpec("attention", attention=name, options=set_knobs(KINDS[name].options, **values))


def test_a_local_gated_convolution_sees_7_by_7_and_a_global_one_everything() -> None:
    assert _reached("gnconv of order 4") == 7 * 7
    assert _reached("gnconv, global") == 14 * 14


def _reached(form: str) -> int:
    """How many positions the output at one position depends on."""
    module = randomise(make(form))
    x = tokens(14, 14).requires_grad_()
    module(x)[0, 7, 7].sum().backward()
    assert x.grad is not None
    return int((x.grad[0].abs().sum(dim=2) > 0).sum())


def test_a_spectrum_is_a_convolution_around_the_map() -> None:
    module = SpectralProduct(3, 6, 4)
    x = tokens(6, 7, 3).permute(0, 3, 1, 2)
    moved = module(x.roll((2, 3), dims=(2, 3)))
    torch.testing.assert_close(moved, module(x).roll((2, 3), dims=(2, 3)))


def test_channels_that_share_weights_are_not_neighbours() -> None:
    """Channel c takes the set c mod (C / groups), and a weight belongs to a neighbour, by rows; zeros lie outside."""
    x = tokens(4, 5, 12).permute(0, 3, 1, 2)
    weights = torch.randn(2, 3 * 9, 4, 5, generator=torch.Generator().manual_seed(1))
    out = weigh_neighbours(x, weights, 3, 4)
    for channel in range(12):
        expected = torch.zeros(2)
        for tap in range(9):
            row = 3 + tap // 3 - 1
            column = 2 + tap % 3 - 1
            if row < 4:
                expected += weights[:, channel % 3 * 9 + tap, 3, 2] * x[:, channel, row, column]
        torch.testing.assert_close(out[:, channel, 3, 2], expected)


def test_attention_with_narrow_keys_is_its_formula() -> None:
    """One head and one query after the other; the map has another shape than the one that the table is made for."""
    module = randomise(find_part("mixers", "levit")(32, {"heads": 2, "head_dim": 16, "map_size": 3}))
    x = tokens(4, 5).permute(0, 3, 1, 2)
    q, k, v = module.qkv(x).split([32, 32, 32], dim=1)
    q = module.convolve(q)
    mixed = torch.zeros(2, 32, 4, 5)
    bias = module.bias(4, 5)[0].view(2, 4, 5, 4, 5)
    for head, row, column in product(range(2), range(4), range(5)):
        own = slice(16 * head, 16 * head + 16)
        logits = (q[:, own, row, column, None, None] * k[:, own]).sum(dim=1) / 4 + bias[head, row, column]
        weights = logits.flatten(1).softmax(dim=1).view(2, 1, 4, 5)
        mixed[:, own, row, column] = (weights * v[:, own]).sum(dim=(2, 3))
    expected = module.proj(mixed.relu()).permute(0, 2, 3, 1)
    torch.testing.assert_close(module(x.permute(0, 2, 3, 1)), expected, rtol=1e-4, atol=1e-4)


def test_a_mirrored_bias_knows_distances_only() -> None:
    module = MirroredPositionBias(1, 3, 4)
    module.bias_table.data = torch.arange(12.0).view(1, 3, 4)
    bias = module(3, 4)[0, 0].view(3, 4, 3, 4)
    for row, column, below, right in product(range(3), range(4), range(3), range(4)):
        assert bias[row, column, below, right] == 4 * abs(row - below) + abs(column - right)
    larger = module(5, 7)[0, 0].view(5, 7, 5, 7)
    assert larger[0, 0, 0, 0] == 0 and larger[4, 6, 0, 0] == larger[0, 0, 4, 6] == 11
    assert module(1, 1).shape == (1, 1, 1, 1)


def test_the_branches_of_a_position_term_are_weighed_by_channel() -> None:
    module = randomise(RepPosition(16))
    x = tokens(5, 6, 16).permute(0, 3, 1, 2)
    branches = x + module.conv.norm(module.conv.conv(x)) + module.point.norm(module.point.conv(x))
    inner = F.relu(F.conv2d(branches.mean(dim=(2, 3), keepdim=True), module.excite.fc1.weight, module.excite.fc1.bias))
    expected = branches * torch.sigmoid(F.conv2d(inner, module.excite.fc2.weight, module.excite.fc2.bias))
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("image_size", [64, 96, 224])
def test_costs_of_lsnet_are_those_of_the_network(image_size: int) -> None:
    """Sides that a stride does not divide are rounded up."""
    architecture = replace(lsnet(16, (16, 32, 48), (2, 2, 2)), image_size=image_size, num_classes=10)
    assert Architecture.from_spec(architecture.to_spec()) == architecture
    assert costs(architecture).param_count == count_parameters(architecture)
    assert costs(architecture).macs == pytest.approx(count_macs(architecture), rel=0.01)


@pytest.mark.parametrize(
    ("stage", "width", "order"), [(0, 64, 2), (1, 128, 3), (2, 320, 4), (3, 512, 5), (3, 40, 4), (2, 33, 1), (0, 24, 2)]
)
def test_a_search_sets_the_published_order_where_the_width_can_be_halved(stage: int, width: int, order: int) -> None:
    options = KINDS["gnconv"].searched(Place(stage, 14, width))
    assert int(dict(options).get("order", "2")) == order
    assert KINDS["gnconv"].problem(BlockSpec("attention", attention="gnconv", options=options), width) == ""


@pytest.mark.parametrize(("width", "groups"), [(64, "8"), (36, "4"), (50, "2")])
def test_a_search_shares_weights_among_as_many_channels_as_divide_the_width(width: int, groups: str) -> None:
    options = KINDS["lsconv"].searched(Place(0, 14, width))
    assert dict(options).get("groups", "8") == groups
    assert KINDS["lsconv"].problem(BlockSpec("attention", attention="lsconv", options=options), width) == ""


@pytest.mark.parametrize(
    ("name", "values", "width", "problem"),
    [
        ("gnconv", {"order": 4}, 36, "order 4 on 36 channels; expected a multiple of 8"),
        ("gnconv", {"order": 3, "filter": "global"}, 20, "order 3 on 20 channels; expected a multiple of 8"),
        ("gnconv", {"kernel": 6}, 32, "kernel 6; expected an odd number"),
        ("gnconv", {"kernel": 5, "filter": "global"}, 32, "kernel 5, which the global filter does not use"),
        ("lsconv", {}, 36, "8 groups and 36 channels; expected an even number of channels that they divide"),
        ("lsconv", {"groups": 3}, 33, "3 groups and 33 channels; expected an even number"),
        ("lsconv", {"small": 4}, 32, "small 4; expected an odd number"),
    ],
)
def test_what_cannot_be_built_is_told(name: str, values: dict[str, str | int], width: int, problem: str) -> None:
    assert KINDS[name].problem(_block(name, **values), width).startswith(problem)
