"""BiFormer's, GLNet's, InLine's and L2ViT's mixers: any map, any precision, what each of them sees, and their costs."""

from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.costs import count_macs
from nas.errors import InvalidInputError
from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.costs import costs
from search_spaces.architecture.kinds.kind import Place
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import Options, option_problem, set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.network.blocks import make_block
from search_spaces.network.layers.heads import split_qkv
from search_spaces.network.layers.sample_conv import gathered_conv, sample_conv
from search_spaces.network.parts import find_part
from tests.models import randomise
from tests.search_spaces.architecture.test_costs import count_parameters

CASES = (
    ("bra", {"regions": 4}),
    ("bra", {"regions": 3, "topk": 2}),
    ("bra", {"regions": 3, "pad": "projected"}),
    ("bra", {"scope": "whole"}),
    ("glmix", {"slots": 16}),
    ("glmix", {"slots": 9, "kernel": 3}),
    ("inline", {}),
    ("inline", {"phi": "leakyrelu"}),
    ("inline", {"phi": "exp"}),
    ("linear", {}),
    ("linear", {"floor": 1, "local": "concentration"}),
    ("concentration", {"kernel": 5}),
)
LINEAR = tuple(case for case in CASES if case[0] != "bra")
SIZES = ((8, 8), (14, 14), (56, 56), (6, 10))
cases = pytest.mark.parametrize(("name", "values"), CASES, ids=str)


def options_of(name: str, values: dict[str, str | int]) -> Options:
    return set_knobs(KINDS[name].options, **values)


def make(name: str, values: dict[str, str | int], width: int = 32, heads: int = 4) -> nn.Module:
    """The mixer with weights of the size that training has."""
    torch.manual_seed(0)
    block = {"heads": heads, "head_dim": width // heads, "map_size": 8, "options": options_of(name, values)}
    return find_part("mixers", name)(width, block)


def tokens(height: int, side: int, batch: int = 2, width: int = 32) -> torch.Tensor:
    return torch.randn(batch, height, side, width, generator=torch.Generator().manual_seed(0))


def mix(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The module's output; one that reads its block's input too gets x for it."""
    out: torch.Tensor = module(x, x) if getattr(module, "reads_input", False) else module(x)
    return out


def spec(name: str, values: dict[str, str | int], width: int = 32, heads: int = 4) -> BlockSpec:
    sizes = {"heads": heads, "head_dim": width // heads} if KINDS[name].fields else {}
    block = BlockSpec("attention", attention=name, position="cpe", ffn="mlp_cpe", ffn_ratio=2, **sizes)
    return replace(block, options=options_of(name, values))


def network_of(block: BlockSpec, width: int = 32, image_size: int = 40) -> Architecture:
    stages = (StageSpec(width, "none", 1, (block,)),)
    return Architecture(StemSpec("conv_gelu", width, "batch"), stages, "batch", image_size, 3, 10)


@cases
def test_any_map_trains(name: str, values: dict[str, str | int]) -> None:
    module = make(name, values)
    for height, side in SIZES:
        module.zero_grad()
        out = mix(module, tokens(height, side))
        assert out.shape == (2, height, side, 32)
        out.square().mean().backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())
    assert mix(module.eval(), tokens(8, 8, 0)).shape == (0, 8, 8, 32)


@cases
def test_half_precision_and_other_memory_give_the_same(name: str, values: dict[str, str | int]) -> None:
    module = make(name, values).eval()
    x = tokens(10, 9)
    with torch.no_grad():
        expected = mix(module, x)
        of_map = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
        torch.testing.assert_close(mix(module, of_map), expected)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = mix(module, x)
        cast = mix(module.to(torch.bfloat16), x.to(torch.bfloat16))
    for half in (mixed, cast):
        # Rounding may route a region elsewhere, so the mean is compared.
        assert float((half.float() - expected).abs().mean()) < 0.05 * float(expected.abs().mean())


@cases
@pytest.mark.parametrize(("width", "heads"), [(32, 4), (48, 2)])
def test_costs_are_those_of_the_network(name: str, values: dict[str, str | int], width: int, heads: int) -> None:
    architecture = network_of(spec(name, values, width, heads), width)
    assert Architecture.from_spec(architecture.to_spec()) == architecture
    assert costs(architecture).param_count == count_parameters(architecture)
    assert costs(architecture).macs == count_macs(architecture)


@pytest.mark.parametrize(("name", "values"), LINEAR, ids=str)
def test_four_times_the_positions_keep_four_times_the_memory(name: str, values: dict[str, str | int]) -> None:
    def kept(side: int) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = mix(make(name, values), tokens(side, side, 1))
        del out
        return sum(sizes.values())

    assert kept(48) / kept(24) < 4.1


def test_a_region_reads_the_regions_it_is_routed_to_and_no_other() -> None:
    module = make("bra", {"regions": 4, "topk": 2})
    nn.init.normal_(module.qkv.weight)
    x = tokens(12, 12, 1).requires_grad_()
    mix(module, x)[0, 4, 7].sum().backward()  # in the region of row 1 and column 2, which is number 6
    seen = (x.grad[0].abs().sum(dim=2) > 0).view(4, 3, 4, 3).transpose(1, 2).flatten(2).all(dim=2).flatten()
    means = module.qkv(x).view(1, 4, 3, 4, 3, 96).mean(dim=(2, 4)).view(16, 96)
    fit = means[:, 32:64] @ means[6, :32]
    assert seen.nonzero().flatten().tolist() == sorted({*fit.topk(2).indices.tolist(), 6})
    far = torch.ones(12, 12, dtype=torch.bool)
    far[2:7, 5:10] = False
    unread = far & ~seen.view(4, 1, 4, 1).expand(4, 3, 4, 3).reshape(12, 12)
    assert float(x.grad[0][unread].abs().max()) == 0


def test_all_regions_are_full_attention_with_the_scale_of_all_channels() -> None:
    module = randomise(make("bra", {"regions": 2}))
    x = tokens(6, 4)
    q, k, v = split_qkv(module.qkv(x).flatten(1, 2), 4)
    mixed = ((q @ k.transpose(2, 3)) / 32**0.5).softmax(dim=3) @ v
    values = module.qkv(x)[..., 64:].permute(0, 3, 1, 2)
    local = F.conv2d(values, module.local.weight, module.local.bias, padding=2, groups=32).permute(0, 2, 3, 1)
    expected = module.proj(mixed.transpose(1, 2).reshape(x.shape) + local)
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-4)


def test_slots_come_from_the_input_of_the_block() -> None:
    """Before its position term and its norm, so a map that is one constant more gives other slots."""
    block = make_block(32, asdict(spec("glmix", {"slots": 16})), 0.0).eval()
    x = tokens(8, 8).permute(0, 3, 1, 2)
    with torch.no_grad():
        normed = block.norm1(block.position(x).permute(0, 2, 3, 1))
        mixed = block.mixer(normed, x.permute(0, 2, 3, 1))
        shifted = block.mixer(normed, x.permute(0, 2, 3, 1) + 3)
    assert block.reads_input
    assert float((mixed - shifted).abs().max()) > 1e-3 * float(mixed.abs().max())


@pytest.mark.parametrize("phi", ["identity", "relu", "leakyrelu", "exp"])
def test_inline_attention_is_its_formula_over_pairs(phi: str) -> None:
    module = randomise(make("inline", {"phi": phi}))
    features = {"identity": lambda t: t, "relu": F.relu, "leakyrelu": F.leaky_relu, "exp": lambda t: (0.2 * t).exp()}
    x = tokens(5, 6)
    q, k, v = split_qkv(module.qkv(x).flatten(1, 2), 4)
    pairs = features[phi](q) @ features[phi](k).transpose(2, 3) / 8**0.5
    weights = (pairs - pairs.mean(dim=3, keepdim=True) + 1) / 30
    torch.testing.assert_close(weights.sum(dim=3), torch.ones(2, 4, 30), rtol=1e-3, atol=1e-3)
    kernels = module.kernels(x.flatten(1, 2).mean(dim=1)[:, :, None]).view(2, 32, 1, 3, 3)
    maps = v.transpose(2, 3).reshape(2, 32, 5, 6)
    local = torch.stack([F.conv2d(maps[i][None], kernels[i], padding=1, groups=32)[0] for i in range(2)])
    expected = module.proj((weights @ v).transpose(1, 2).reshape(x.shape) + local.permute(0, 2, 3, 1))
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("floor", [100, 1])
def test_linear_attention_is_its_formula_over_pairs(floor: int) -> None:
    module = randomise(make("linear", {"floor": floor}))
    x = tokens(5, 6)
    q, k, v = split_qkv(module.qkv(x).flatten(1, 2), 4)
    pairs = q.relu() @ k.relu().transpose(2, 3)
    weights = module.temperature * pairs / pairs.sum(dim=3, keepdim=True).clamp(min=floor)
    expected = module.proj((weights @ v).transpose(1, 2).reshape(x.shape))
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-4)


def test_the_two_forms_of_a_convolution_per_sample_are_equal() -> None:
    x = tokens(7, 4, 3, 6)
    kernels = tokens(5, 5, 3, 7).permute(0, 3, 1, 2)
    torch.testing.assert_close(
        gathered_conv(x.permute(0, 3, 1, 2), kernels[:, :6]), sample_conv(x.permute(0, 3, 1, 2), kernels[:, :6])
    )


@pytest.mark.parametrize("name", ["bra", "glmix", "inline", "linear", "concentration"])
def test_what_a_search_sets_can_be_built_on_any_map(name: str) -> None:
    kind = KINDS[name]
    for stage in range(4):
        for side in (1, 2, 3, 4, 7, 8, 11, 14, 16, 28, 56):
            options = kind.searched(Place(stage, side, 32))
            block = replace(spec(name, {}), options=options)
            assert option_problem(options, kind.options) == "" and kind.problem(block, 32) == ""
            if name == "bra":
                assert side % int(dict(options).get("regions", 7 if side % 7 == 0 else 1)) == 0


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("bra", {"regions": 2, "topk": 5}, "topk 5 of 2x2 regions of bra; expected at most 4"),
        ("bra", {"scope": "whole", "topk": 5}, "expected no regions, topk or pad with scope 'whole'"),
        ("bra", {"kernel": 4}, "kernel 4 of bra; expected an odd number"),
        ("glmix", {"slots": 12}, "12 slots of glmix; expected a square number"),
        ("glmix", {"kernel": 4}, "kernel 4 of glmix; expected an odd number"),
        ("concentration", {"kernel": 6}, "kernel 6 of concentration; expected an odd number"),
    ],
)
def test_what_cannot_be_built_is_told(name: str, values: dict[str, str | int], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Architecture.from_spec(network_of(spec(name, values)).to_spec())
