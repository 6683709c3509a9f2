"""Mixers whose convolutions depend on their input: costs, sizes, number formats, and what each can see."""

import re
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.costs import count_module_macs
from benchmarks.plain_dynamic import PLAIN_DYNAMIC
from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import HEADS, Place
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import option_problem, set_knobs
from search_spaces.network.layers.shifted_windows import ShiftedKernels
from search_spaces.network.parts import find_part
from tests.models import randomise

CASES: list[tuple[str, dict[str, int]]] = [
    ("atconv", {}),
    ("atconv", {"kernel": 5}),
    ("ffnified", {}),
    ("ffnified", {"keys": 5, "values": 7}),
    ("dico", {}),
    ("contmix", {}),
    ("contmix", {"kernel": 13, "small": 3}),
    ("dfc", {}),
]
NAMES = tuple(dict.fromkeys(name for name, _ in CASES))


def spec(name: str, width: int, knobs: dict[str, int]) -> BlockSpec:
    options = set_knobs(KINDS[name].options, **knobs)
    heads = {"heads": 4, "head_dim": width // 4} if HEADS[0] in KINDS[name].fields else {}
    return BlockSpec("attention", attention=name, options=options, **heads)


def make(name: str, width: int, knobs: dict[str, int] | None = None) -> nn.Module:
    options = set_knobs(KINDS[name].options, **(knobs or {}))
    mixer: nn.Module = find_part("mixers", name)(width, {"heads": 4, "head_dim": width // 4, "options": options})
    return mixer


def tokens(width: int, height: int, side: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, height, side, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "knobs"), CASES, ids=str)
@pytest.mark.parametrize(("width", "side"), [(16, 8), (40, 14), (24, 1)])
def test_costs_are_those_of_the_module(name: str, knobs: dict[str, int], width: int, side: int) -> None:
    mixer = make(name, width, knobs).eval()
    params, macs = KINDS[name].costs(spec(name, width, knobs), width, side * side)
    assert params == sum(parameter.numel() for parameter in mixer.parameters())
    assert macs == count_module_macs(mixer, tokens(width, side, side, batch=1))


@pytest.mark.parametrize(("name", "knobs"), CASES, ids=str)
@pytest.mark.parametrize(("height", "side"), [(8, 8), (14, 14), (56, 56), (5, 12), (1, 1)])
def test_every_size_trains(name: str, knobs: dict[str, int], height: int, side: int) -> None:
    mixer = make(name, 16, knobs)
    x = tokens(16, height, side).requires_grad_()
    out = mixer(x)
    assert out.shape == x.shape
    out.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in mixer.parameters())


@pytest.mark.parametrize(("name", "knobs"), CASES, ids=str)
def test_other_formats_agree(name: str, knobs: dict[str, int]) -> None:
    """bf16, bf16 by autocast, and a channels_last map of the same values."""
    mixer = randomise(make(name, 16, knobs))
    x = tokens(16, 10, 12)
    expected = mixer(x)
    strided = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    torch.testing.assert_close(mixer(strided), expected, rtol=1e-4, atol=1e-4)
    scale = expected.abs().max().item()
    with torch.autocast("cpu", torch.bfloat16):
        cast = mixer(x)
    torch.testing.assert_close(cast.float(), expected, rtol=0, atol=0.1 * scale)
    halved = mixer.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved.float(), expected, rtol=0, atol=0.1 * scale)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "side"), [(7, 7), (9, 13)])
def test_every_mixer_is_its_printed_formula(name: str, height: int, side: int) -> None:
    torch.manual_seed(0)
    plain = randomise(PLAIN_DYNAMIC[name](16))
    mixer = make(name, 16).eval()
    mixer.load_state_dict(plain.state_dict())
    x = tokens(16, height, side)
    torch.testing.assert_close(mixer(x), plain(x), rtol=1e-4, atol=1e-4)


def reach(name: str, knobs: dict[str, int], side: int = 24) -> set[int]:
    """Columns of the output, in the row of one input position at column 8, that change with it."""
    mixer = randomise(make(name, 16, knobs))
    x = tokens(16, side, side, batch=1)
    other = x.clone()
    other[0, 8, 8] += 1.0
    changed = (mixer(other) - mixer(x)).abs().amax(dim=3)[0, 8] > 1e-6
    return {int(column) for column in changed.nonzero()}


def test_learned_kernels_see_their_sides_and_made_kernels_all() -> None:
    assert reach("ffnified", {}) == set(range(6, 11)), "two kernels of 3"
    assert reach("ffnified", {"values": 7}) == set(range(4, 13)), "3 and 7"
    assert all(len(reach(name, {})) == 24 for name in ("atconv", "dico", "contmix")), "the mean of the map"


def test_the_gate_sees_its_row_of_halved_positions() -> None:
    assert reach("dfc", {}) == set(range(4, 14)), "five pairs"


def test_kernels_are_of_each_sample_alone() -> None:
    x = tokens(16, 9, 11, batch=3)
    for name in NAMES:
        mixer = randomise(make(name, 16))
        torch.testing.assert_close(mixer(x)[1:2], mixer(x[1:2]), rtol=1e-4, atol=1e-4)


def test_attentive_kernels_lose_half_of_their_mean_at_first() -> None:
    """With a kernel of equal taps sigmoid(0) takes away half of each, so that its answer is half."""
    mixer = make("atconv", 8).eval()
    nn.init.zeros_(mixer.make.weight)
    nn.init.ones_(mixer.make.bias)
    x = tokens(8, 7, 7, batch=1)
    values = mixer.value(x).permute(0, 3, 1, 2)
    mean = nn.functional.avg_pool2d(values, 3, stride=1, padding=1) * 9 / 2
    torch.testing.assert_close(mixer(x), mixer.proj(mean.permute(0, 2, 3, 1)), rtol=1e-4, atol=1e-5)


def test_shifted_windows_stay_on_the_map() -> None:
    """Equal logits and no bias: the mean of the window, which at a border is that of the first one inside."""
    kernels = ShiftedKernels(1, 3)
    nn.init.zeros_(kernels.bias_table)
    values = torch.arange(20.0).view(1, 1, 20, 1)
    means = kernels(values, torch.zeros(1, 1, 20, 9), 4, 5).view(4, 5)
    inside = nn.functional.avg_pool2d(values.view(1, 1, 4, 5), 3, stride=1)[0, 0]
    torch.testing.assert_close(means, inside[[0, 0, 1, 1]][:, [0, 0, 1, 2, 2]])


@pytest.mark.parametrize(
    ("name", "place", "expected"),
    [
        ("ffnified", Place(1, 28, 64), {}),
        ("ffnified", Place(2, 14, 64), {"keys": "7", "values": "7"}),
        ("contmix", Place(0, 56, 64), {"kernel": "17"}),
        ("contmix", Place(1, 28, 64), {"kernel": "15"}),
        ("contmix", Place(2, 14, 64), {"kernel": "13"}),
        ("contmix", Place(3, 7, 64), {}),
        ("contmix", Place(0, 8, 64), {}),
    ],
)
def test_a_search_sets_the_published_kernels(name: str, place: Place, expected: dict[str, str]) -> None:
    options = KINDS[name].searched(place)
    assert dict(options) == expected
    assert option_problem(options, KINDS[name].options) == ""


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"attention": "atconv", "options": (("kernel", "4"),)}, r"kernel as 4; expected an odd number"),
        ({"attention": "ffnified", "options": (("values", "4"),)}, r"\[4\]; expected odd numbers"),
        ({"attention": "contmix", "heads": 2, "head_dim": 7}, r"head_dim 7.*expected an even number"),
        (
            {"attention": "contmix", "heads": 2, "head_dim": 8, "options": (("small", "9"),)},
            r"small as 9; expected an odd number of at most 7",
        ),
    ],
)
def test_what_cannot_be_built_is_said(block: dict[str, Any], message: str) -> None:
    problem = KINDS[block["attention"]].problem(BlockSpec("attention", **block), 16)
    assert re.search(message, problem)
