"""Pooled and aggregated attention, Next-ViT's convolution, and their feed-forwards: any map, any precision, what each
position sees, and what they cost."""

import math
from dataclasses import replace

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
from search_spaces.architecture.knobs import set_knobs
from search_spaces.architecture.spec import Architecture
from search_spaces.network.layers.continuous_bias import ContinuousPositionBias, bin_offsets
from search_spaces.network.mixers.aggregated import AggregatedAttention
from search_spaces.network.parts import find_part
from tests.models import randomise
from tests.search_spaces.architecture.test_costs import count_parameters

Knobs = dict[str, str | int]
CASES: tuple[tuple[str, Knobs], ...] = (
    ("pooled", {}),
    ("pooled", {"ratio": 2}),
    ("pooled", {"ratio": 3}),
    ("pooled", {"form": "averaged"}),
    ("pooled", {"form": "averaged", "pool": 5}),
    ("pooled", {"form": "raster", "ratio": 3}),
    ("aggregated", {}),
    ("aggregated", {"ratio": 4, "window": 5}),
    ("aggregated", {"form": "cosine"}),
    ("mhca", {}),
)
SIZES = ((8, 8), (14, 14), (10, 13), (1, 1))
cases = pytest.mark.parametrize(("name", "knobs"), CASES, ids=str)


def block(name: str, knobs: Knobs, width: int = 32) -> BlockSpec:
    options = set_knobs(KINDS[name].options, **knobs)
    return BlockSpec("attention", attention=name, heads=4, head_dim=width // 4, options=options)


def make(name: str, knobs: Knobs, map_size: int = 8) -> nn.Module:
    torch.manual_seed(0)
    options = set_knobs(KINDS[name].options, **knobs)
    module: nn.Module = find_part("mixers", name)(
        32, {"heads": 4, "head_dim": 8, "map_size": map_size, "options": options}
    )
    return module


def tokens(height: int, side: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, height, side, 32, generator=torch.Generator().manual_seed(0))


def network_of(spec: BlockSpec, width: int = 32, image_size: int = 40) -> Architecture:
    stages = (StageSpec(width, "none", 1, (spec,)),)
    return Architecture(StemSpec("conv", width, "batch"), stages, "batch", image_size, 3, 10)


@cases
def test_any_map_trains(name: str, knobs: Knobs) -> None:
    module = make(name, knobs)
    for height, side in SIZES:
        module.zero_grad()
        out = module(tokens(height, side))
        assert out.shape == (2, height, side, 32)
        out.square().sum().backward()
        assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in module.parameters())


@cases
def test_the_first_map_of_224_pixels(name: str, knobs: Knobs) -> None:
    with torch.inference_mode():
        assert torch.isfinite(make(name, knobs, 56).eval()(tokens(56, 56, 1))).all()


@cases
def test_layout_and_precision_do_not_matter(name: str, knobs: Knobs) -> None:
    module = make(name, knobs).eval()
    x = tokens(8, 10)
    strided = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    with torch.inference_mode():
        expected = module(x)
        torch.testing.assert_close(module(strided), expected, rtol=1e-4, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            assert (module(x) - expected).abs().max() <= 0.05 * expected.abs().max()
        assert torch.isfinite(module.to(torch.bfloat16)(x.to(torch.bfloat16))).all()


@pytest.mark.parametrize("width", [32, 64])
@cases
def test_costs_are_those_of_the_network(name: str, knobs: Knobs, width: int) -> None:
    for image_size in (32, 40):
        architecture = network_of(block(name, knobs, width), width, image_size)
        assert Architecture.from_spec(architecture.to_spec()) == architecture
        assert costs(architecture).param_count == count_parameters(architecture)
        assert costs(architecture).macs == pytest.approx(count_macs(architecture), rel=0.01)


@pytest.mark.parametrize(
    ("ffn", "options"), [("conv_glu", ()), ("daff", ()), ("daff", (("kernel", "5"),)), ("mlp", (("act", "relu"),))]
)
@pytest.mark.parametrize("width", [20, 32])
def test_costs_of_feed_forwards(ffn: str, options: tuple[tuple[str, str], ...], width: int) -> None:
    architecture = network_of(BlockSpec("ffn", ffn=ffn, ffn_ratio=3, ffn_options=options), width)
    assert costs(architecture).param_count == count_parameters(architecture)
    assert costs(architecture).macs == pytest.approx(count_macs(architecture), rel=0.01)


def test_published_formulas_of_parameters() -> None:
    def params(name: str, **knobs: str | int) -> int:
        return sum(weight.numel() for weight in make(name, knobs).parameters())

    C, h = 32, 4
    assert params("pooled", ratio=2) == 4 * C**2 + 4 * C + 4 * C**2 + 3 * C
    assert params("pooled", form="averaged") == 4 * C**2 + 4 * C + C**2 + 3 * C
    assert params("pooled", form="raster", ratio=2) == 4 * C**2 + 6 * C
    assert params("aggregated") == 5 * C**2 + (9 + 8) * C + (2 * 9 + 514) * h + 1536
    assert params("aggregated", form="cosine") == 4 * C**2 + 5 * C + 514 * h + 1536


def reached(module: nn.Module, x: torch.Tensor, row: int, column: int) -> set[tuple[int, int]]:
    """The positions whose input changes the output at one position."""
    x = x[:1].clone().requires_grad_()
    module.eval()(x)[0, row, column].sum().backward()
    assert x.grad is not None
    return {(int(y), int(c)) for y, c in x.grad[0].abs().sum(dim=2).nonzero()}


def test_what_fills_no_patch_gives_no_key() -> None:
    everywhere = {(y, x) for y in range(5) for x in range(7)}
    seen = reached(make("pooled", {"ratio": 2}), tokens(5, 7), 4, 6)
    assert seen == {(y, x) for y in range(4) for x in range(6)} | {(4, 6)}
    # 35 tokens are three keys of nine and a rest of eight; those are the last eight by rows.
    seen = reached(make("pooled", {"form": "raster", "ratio": 3}), tokens(5, 7), 4, 6)
    assert seen == {(y, x) for y, x in everywhere if 7 * y + x < 27} | {(4, 6)}
    assert reached(make("pooled", {"form": "averaged"}), tokens(5, 7), 4, 6) == everywhere


def test_raster_keys_are_of_consecutive_tokens_and_not_of_patches() -> None:
    module = randomise(make("pooled", {"form": "raster", "ratio": 2}))
    x = tokens(4, 4)
    rolled = torch.cat((x[:, :1].flip(2), x[:, 1:]), dim=1)
    within = torch.cat((x[:, :1, [1, 0, 3, 2]], x[:, 1:]), dim=1)
    with torch.no_grad():
        assert torch.allclose(module.pool(x), module.pool(rolled), atol=1e-5)  # a row of four is one key
        assert torch.allclose(module.pool(x), module.pool(within), atol=1e-5)
        assert not torch.allclose(module.pool(x), module.pool(x.transpose(1, 2)), atol=1e-3)


@pytest.mark.parametrize("form", ["convolved", "raster"])
def test_a_map_smaller_than_a_patch_is_one_key(form: str) -> None:
    module = make("pooled", {"form": form, "ratio": 8})
    x = tokens(2, 3)
    assert module.pool(x).shape == (2, 1, 32)
    assert reached(module, x, 0, 0) == {(y, c) for y in range(2) for c in range(3)}


@pytest.mark.parametrize(("size", "bins"), [(8, 4), (8, 3), (14, 4), (7, 3), (5, 5), (4, 1)])
def test_offsets_are_those_from_the_centres_of_bins(size: int, bins: int) -> None:
    offsets, index = bin_offsets(size, bins, torch.device("cpu"))
    for position in range(size):
        for bin_number in range(bins):
            members = range(bin_number * size // bins, math.ceil((bin_number + 1) * size / bins))
            centre = sum(members) / len(members)
            assert offsets[index[position, bin_number]] == position - centre
    assert index.min() == 0 and index.max() == len(offsets) - 1


def oracle(module: AggregatedAttention, x: torch.Tensor) -> torch.Tensor:
    """Aggregated attention of one image, (H, W, C), one position and one head after the other."""
    H, W, C = x.shape
    heads = 4
    rows, columns = H // module.ratio, W // module.ratio
    pool = module.pool
    near = module.neighbours
    assert pool is not None and near is not None
    mapped = F.gelu(F.conv2d(x.permute(2, 0, 1)[None], pool.conv.weight, pool.conv.bias))
    pooled = pool.norm(F.adaptive_avg_pool2d(mapped, (rows, columns)).flatten(2)[0].t())
    bias = module.bias(H, W, rows, columns)
    far_k, far_v = module.kv(pooled).view(-1, 2, heads, C // heads).unbind(1)
    k, v = module.kv(x).view(H, W, 2, heads, C // heads).unbind(2)
    queries = module.q(x).view(H, W, heads, C // heads)
    out = torch.zeros(H, W, heads, C // heads)
    for y, c, head in ((y, c, head) for y in range(H) for c in range(W) for head in range(heads)):
        unit = F.normalize(queries[y, c, head], dim=0)
        around = [(y + dy, c + dc) for dy in (-1, 0, 1) for dc in (-1, 0, 1)]
        inside = [tap for tap, (row, column) in enumerate(around) if 0 <= row < H and 0 <= column < W]
        q = (unit + module.query_embedding[head, 0]) * F.softplus(module.temperature[head, 0, 0])
        q = q * math.log(len(inside) + rows * columns)
        near_k = torch.stack([F.normalize(k[around[tap]][head], dim=0) for tap in inside])
        near_v = torch.stack([v[around[tap]][head] for tap in inside])
        logits = near_k @ q + near.bias_table[head, inside]
        far = F.normalize(far_k[:, head], dim=1) @ q + bias[head, y * W + c]
        weights = torch.cat((logits, far)).softmax(dim=0)
        learned = (unit @ near.tokens[head] + near.token_bias[head, 0])[inside]
        out[y, c, head] = (weights[: len(inside)] + learned) @ near_v + weights[len(inside) :] @ far_v[:, head]
    mixed: torch.Tensor = module.proj(out.view(H, W, C))
    return mixed


@pytest.mark.parametrize(("height", "side"), [(5, 7), (6, 4)])
def test_aggregated_attention_is_its_formula(height: int, side: int) -> None:
    module = randomise(make("aggregated", {}))
    x = tokens(height, side)
    with torch.no_grad():
        torch.testing.assert_close(module(x)[0], oracle(module, x[0]), rtol=1e-4, atol=1e-4)


def test_the_bias_of_an_offset_does_not_depend_on_the_image() -> None:
    bias = randomise(ContinuousPositionBias(2, 8, 8))
    small = bias(8, 8, 4, 4).view(2, 8, 8, 4, 4)
    large = bias(16, 12, 8, 6).view(2, 16, 12, 8, 6)
    torch.testing.assert_close(large[:, :8, :8, :4, :4], small)


def test_gates_start_as_published() -> None:
    module = make("aggregated", {})
    torch.testing.assert_close(F.softplus(module.temperature), torch.full((4, 1, 1), 1 / 0.24))
    assert not module.neighbours.token_bias.any() and module.neighbours.bias_table.abs().max() < 0.003


@pytest.mark.parametrize(("map_size", "ratio"), [(56, 8), (28, 4), (14, 2), (7, 1), (8, 1), (16, 2), (2, 1)])
def test_a_search_pools_as_published(map_size: int, ratio: int) -> None:
    place = Place(0, map_size, 32)
    assert dict(KINDS["pooled"].searched(place)).get("ratio", "1") == str(ratio)
    aggregated = dict(KINDS["aggregated"].searched(place))
    assert aggregated.get("form", "aggregated") == ("aggregated" if ratio > 1 else "cosine")
    assert ratio == 1 or aggregated.get("ratio", "2") == str(ratio)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pooled", (("form", "averaged"), ("ratio", "2")), "option ratio and the form 'averaged'"),
        ("pooled", (("pool", "5"),), "option pool and the form 'convolved'"),
        ("pooled", (("form", "raster"),), "expected the form 'convolved', which is the same"),
        ("aggregated", (("form", "cosine"), ("ratio", "4")), "the cosine form, which has no ratio and no window"),
        ("aggregated", (("window", "4"),), "a window of 4; expected an odd number"),
    ],
)
def test_knobs_without_influence_are_refused(name: str, options: tuple[tuple[str, str], ...], message: str) -> None:
    spec = network_of(replace(block(name, {}), options=options)).to_spec()
    with pytest.raises(InvalidInputError, match=message):
        Architecture.from_spec(spec)


@pytest.mark.parametrize(("width", "stride"), [(32, 1), (40, 1), (64, 2)])
def test_widen_adds_whole_heads(width: int, stride: int) -> None:
    stage = StageSpec(width, "widen", stride, (BlockSpec("ffn", ffn="mlp", ffn_ratio=2),))
    architecture = Architecture(StemSpec("conv4", 32, "batch"), (stage,), "none", 32, 3, 10)
    with pytest.raises(InvalidInputError, match="expected multiples of 32 to be added, and stride 1"):
        Architecture.from_spec(architecture.to_spec())
