"""Convolutions of our own against the library's: values, gradients, and what stays untouched."""

import copy
from contextlib import nullcontext
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nas.records import JSON
from search_spaces.build import build_model
from search_spaces.network.mixers.group_mix import SegmentAggregator
from search_spaces.registry import make_space
from workers.data.registry import load_data, open_data
from workers.training import convolutions
from workers.training.convolutions import depthwise_conv, use_fast_convolutions
from workers.training.recipes import RECIPES
from workers.training.trainer import Trainer

CPU = torch.device("cpu")


def library(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    reach = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, bias, padding=reach, dilation=dilation, groups=len(weight))


def inputs(batch: int, channels: int, height: int, width: int, kernel: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, height, width, generator=generator, dtype=dtype)
    weight = torch.randn(channels, 1, kernel, kernel, generator=generator, dtype=dtype)
    bias = torch.randn(channels, generator=generator, dtype=dtype)
    return (
        x.contiguous(memory_format=torch.channels_last).requires_grad_(),
        weight.requires_grad_(),
        bias.requires_grad_(),
    )


def require_equal(height: int, width: int, kernel: int, dilation: int, channels: int = 16, batch: int = 3) -> None:
    leaves = inputs(batch, channels, height, width, kernel, torch.float32)
    ours = depthwise_conv(*leaves, dilation=dilation)
    expected = library(*leaves, dilation)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    ours_gradients = torch.autograd.grad(ours, leaves, grad)
    for value, reference in zip(
        (ours, *ours_gradients), (expected, *torch.autograd.grad(expected, leaves, grad)), strict=True
    ):
        assert value.shape == reference.shape
        assert (value - reference).abs().max() <= 1e-5 * reference.abs().max()


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9, 11])
def test_values_and_gradients_are_the_librarys(kernel: int) -> None:
    for side, dilation in product((1, 2, 3, 4, 5, 7, 8, 14, 16), (1, 2, 3)):
        require_equal(side, side, kernel, dilation)


@given(
    height=st.integers(1, 18),
    width=st.integers(1, 18),
    kernel=st.sampled_from([1, 3, 5, 7, 9]),
    dilation=st.integers(1, 4),
    channels=st.integers(2, 40),
    batch=st.integers(1, 5),
)
@settings(max_examples=60)
def test_any_map_number_of_channels_and_batch(
    height: int, width: int, kernel: int, dilation: int, channels: int, batch: int
) -> None:
    require_equal(height, width, kernel, dilation, channels, batch)


@pytest.mark.parametrize(
    ("side", "kernel", "dilation"), [(2, 3, 1), (4, 7, 1), (8, 5, 1), (8, 7, 1), (9, 9, 1), (4, 7, 3)]
)
def test_gradients_pass_gradcheck_in_float64(side: int, kernel: int, dilation: int) -> None:
    leaves = inputs(2, 2, side, side, kernel, torch.float64)
    assert torch.autograd.gradcheck(lambda *given: depthwise_conv(*given, dilation=dilation), leaves)


def test_the_strips_and_the_products_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shapes of the rule, so that a change of it does not go unnoticed: the library would be exact too."""
    taken: list[str] = []
    for name in ("_by_strips", "_by_products"):
        original = getattr(convolutions, name)
        monkeypatch.setattr(
            convolutions,
            name,
            lambda *given, name=name, original=original: (taken.append(name), original(*given))[1],
        )
    for side, kernel in ((8, 7), (8, 5), (4, 7), (2, 3), (8, 3), (16, 19)):
        x, weight, bias = inputs(2, 16, side, side, kernel, torch.float32)
        depthwise_conv(x, weight, bias).sum().backward()
    assert taken == ["_by_strips", "_by_strips", "_by_products", "_by_products"]


def test_a_frozen_kernel_gets_no_gradient_and_its_input_does() -> None:
    x, weight, _ = inputs(2, 8, 8, 8, 7, torch.float32)
    depthwise_conv(x, weight.detach(), None).sum().backward()
    assert x.grad is not None
    assert weight.grad is None


def test_half_precision_is_left_to_the_library() -> None:
    x, weight, bias = (leaf.detach().bfloat16() for leaf in inputs(2, 8, 8, 8, 7, torch.float32))
    assert torch.equal(depthwise_conv(x, weight, bias), library(x, weight, bias, 1))


@pytest.mark.parametrize("side", [1, 4, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_a_1x1_convolution_gives_what_the_library_gives(side: int, bias: bool) -> None:
    plain = nn.Conv2d(24, 40, 1, bias=bias)
    fast = copy.deepcopy(plain)
    use_fast_convolutions(fast)
    x = torch.randn(2, 24, side, side).contiguous(memory_format=torch.channels_last)
    inputs_of_each = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [conv(given) for conv, given in zip((plain, fast), inputs_of_each, strict=True)]
    for output in outputs:
        output.square().sum().backward()
    assert torch.allclose(*outputs, rtol=1e-5, atol=1e-5)
    assert torch.allclose(inputs_of_each[0].grad, inputs_of_each[1].grad, rtol=1e-4, atol=1e-4)
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-2)


def test_other_convolutions_are_left_alone() -> None:
    others = nn.ModuleList(
        [
            nn.Conv2d(8, 8, 3, padding=1),
            nn.Conv2d(8, 8, 7, padding=3, stride=2, groups=8),
            nn.Conv2d(8, 16, 7, padding=3, groups=8),
            nn.Conv2d(8, 8, 4, padding=2, groups=8),
            nn.Conv2d(8, 8, 7, groups=8),
            nn.Conv2d(8, 8, (7, 3), padding=(3, 1), groups=8),
            nn.Conv2d(8, 8, 7, padding=3, groups=8, padding_mode="reflect"),
            nn.Conv2d(8, 8, 1, stride=2),
            nn.Conv2d(8, 8, 1, padding=1),
            nn.Conv2d(8, 16, 1, groups=2),
        ]
    )
    x = torch.randn(2, 8, 12, 12)
    before = [conv(x) for conv in others]
    use_fast_convolutions(others)
    assert all(torch.equal(conv(x), expected) for conv, expected in zip(others, before, strict=True))


def test_the_shared_kernels_of_group_mix_are_fast_and_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    original = convolutions._by_strips
    monkeypatch.setattr(convolutions, "_by_strips", lambda *given: (taken.append(1), original(*given))[1])
    plain = SegmentAggregator(8, 5)
    fast = copy.deepcopy(plain)
    use_fast_convolutions(fast)
    x = torch.randn(2, 8, 8, 24)
    for network in (plain, fast):
        network(x).square().sum().backward()
    assert taken == [1]
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-4)


def spec_with_large_kernels() -> JSON:
    """The first random nano architecture with a dilated kernel and one of 7 x 7."""
    space = make_space("hybrid_layout", "nano", 32, 1, 10)
    rng = np.random.default_rng(0)
    while True:
        spec = space.architecture(space.sample(rng)).to_spec()
        text = str(spec)
        if "'lka'" in text and "'kernel': 7" in text:
            return spec


def test_a_training_has_the_losses_of_the_librarys_and_leaves_no_trace_in_the_weights() -> None:
    """Ten steps of two networks, one of them without ours; then the weights go into a network as anybody builds it."""
    source = open_data("digits")
    recipe = replace(RECIPES["nano"], rungs=(10,), batch_size=16)
    spec = spec_with_large_kernels()
    losses = []
    for fast in (True, False):
        torch.manual_seed(0)
        model = build_model(spec)
        trainer = Trainer(
            model, load_data(source, recipe, CPU), recipe, num_classes=10, seed=0, device=CPU, computing=nullcontext
        )
        if not fast:
            for module in model.modules():
                module.__dict__.pop("_conv_forward", None)
        losses.append(trainer.advance(10))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert list(trainer.weights()) == list(build_model(spec).state_dict())
