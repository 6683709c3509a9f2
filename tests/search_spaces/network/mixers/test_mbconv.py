"""The MBConv of CoAtNet, MOAT and MaxViT: alone, strided, and before attention."""

from dataclasses import asdict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.architecture.block import BlockSpec, StemSpec
from search_spaces.architecture.downsamples.registry import DOWNSAMPLES
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.stems.registry import STEMS
from search_spaces.network.layers.bottleneck import PreNormBottleneck
from search_spaces.network.layers.halving import HalvingPool
from search_spaces.network.parts import find_part
from tests.models import randomise

FORMS = ("coatnet", "moat", "maxvit")
SIDES = ((8, 8), (14, 14), (56, 56), (10, 13))
STRIDED = ("mbconv_coatnet", "mbconv_moat", "mbconv_moat_plain", "mbconv_maxvit", "attention_coatnet")


def spec(form: str, kernel: int = 3, ratio: int = 4, se_ratio: float = 0.25) -> BlockSpec:
    return BlockSpec(
        "conv", conv="mbconv", kernel=kernel, conv_ratio=ratio, se_ratio=se_ratio, conv_options=(("form", form),)
    )


def mbconv(form: str, width: int = 16, **fields: Any) -> nn.Module:
    block = spec(form, **fields)
    module: nn.Module = find_part("mixers", "mbconv")(width, asdict(block))
    return module


def maps(width: int, height: int, side: int) -> torch.Tensor:
    return torch.randn(2, width, height, side, generator=torch.Generator().manual_seed(0))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def has_finite_gradients(module: nn.Module) -> bool:
    gradients = [parameter.grad for parameter in module.parameters()]
    return all(gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", SIDES, ids=str)
def test_each_form_trains_at_every_map_size(form: str, size: tuple[int, int]) -> None:
    module = mbconv(form)
    out = module(maps(16, *size).contiguous(memory_format=torch.channels_last))
    out.square().mean().backward()
    assert out.shape == (2, 16, *size) and torch.isfinite(out).all()
    assert has_finite_gradients(module)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_runs_in_bfloat16(form: str) -> None:
    module = mbconv(form).eval()
    x = maps(16, 8, 8)
    low = module.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), module.float()(x), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fields", [{}, {"kernel": 5}, {"ratio": 6}, {"se_ratio": 0.0}, {"se_ratio": 0.01}], ids=str)
@pytest.mark.parametrize("width", [16, 30])
def test_costs_are_those_of_the_module(form: str, fields: dict[str, Any], width: int) -> None:
    assert KINDS["mbconv"].costs(spec(form, **fields), width, 1)[0] == count(mbconv(form, width, **fields))


def test_moats_convolution_has_the_published_parameters() -> None:
    width = 32
    assert KINDS["mbconv"].costs(spec("moat", se_ratio=0.0), width, 1)[0] == 8 * width**2 + 55 * width


@pytest.mark.parametrize("name", STRIDED)
@pytest.mark.parametrize("widths", [(16, 32), (32, 32), (24, 40)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_costs_of_a_strided_block_are_those_of_the_module(name: str, widths: tuple[int, int], stride: int) -> None:
    module = find_part("downsamples", name)(*widths, stride, 4)
    assert DOWNSAMPLES[name].costs(*widths, stride, 4)[0] == count(module)


@pytest.mark.parametrize("name", STRIDED)
@pytest.mark.parametrize("size", [(8, 8), (14, 14), (10, 12), (7, 9), (1, 1)], ids=str)
def test_a_strided_block_halves_any_map(name: str, size: tuple[int, int]) -> None:
    module = find_part("downsamples", name)(16, 32, 2, 7)
    out = module(maps(16, *size))
    assert out.shape == (2, 32, -(-size[0] // 2), -(-size[1] // 2))
    out.square().mean().backward()
    assert has_finite_gradients(module)


@pytest.mark.parametrize(("form", "windows"), [("coatnet", 2), ("moat", 1), ("maxvit", 1)])
def test_a_stride_pads_as_published(form: str, windows: int) -> None:
    """Windows of three begin at -1, 1 and 3 with even padding, and at 0, 2 and 4 with TensorFlow's on even sides; so
    position 1 is read by two of them, or by one."""
    module = randomise(PreNormBottleneck(4, 4, form, stride=2))
    empty = torch.zeros(1, 4, 6, 6)
    marked = empty.clone()
    marked[:, :, 1, 1] = 1.0
    changed = (module(marked) - module(empty)).abs().amax(dim=1)[0] > 1e-6
    expected = torch.zeros(3, 3, dtype=torch.bool)
    expected[:windows, :windows] = True
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("size", [(6, 8), (7, 5)], ids=str)
@pytest.mark.parametrize("kernel", [2, 3])
def test_averages_skip_what_lies_outside(size: tuple[int, int], kernel: int) -> None:
    """TensorFlow's "same": the excess is split, and its larger half stands behind."""
    x = maps(3, *size)
    excess = [kernel - 2 + side % 2 for side in size]
    pad = (excess[1] // 2, excess[1] - excess[1] // 2, excess[0] // 2, excess[0] - excess[0] // 2)
    sums = F.avg_pool2d(F.pad(x, pad), kernel, 2)
    shares = F.avg_pool2d(F.pad(torch.ones_like(x), pad), kernel, 2)
    torch.testing.assert_close(HalvingPool(kernel)(x), sums / shares)


@pytest.mark.parametrize("name", FORMS)
def test_a_stem_halves_an_image_and_costs_what_its_module_has(name: str) -> None:
    norm = STEMS[name].norms[0]
    module = find_part("stems", name)(3, 16, norm)
    assert module(torch.zeros(2, 3, 32, 64)).shape == (2, 16, 16, 32)
    assert STEMS[name].costs(StemSpec(name, 16, norm), 3, 32)[0] == count(module)
    assert module.stride == STEMS[name].stride == 2


def test_tables_are_interpolated_as_the_block_says() -> None:
    block = {"heads": 2, "head_dim": 8, "position": "relative", "map_size": 4}
    tokens = maps(16, 6, 7).permute(0, 2, 3, 1)
    cubic = randomise(find_part("mixers", "full")(16, block))
    linear = find_part("mixers", "full")(16, {**block, "options": (("resize", "bilinear"),)}).eval()
    linear.load_state_dict(cubic.state_dict())
    assert not torch.allclose(cubic(tokens), linear(tokens), atol=1e-3)
    own = tokens[:, :4, :4]
    torch.testing.assert_close(cubic(own), linear(own))
