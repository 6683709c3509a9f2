"""Window, grid, halo and neighbourhood attention: what each position sees, on maps of any size, and what it costs."""

import pytest
import torch
from torch import nn

from benchmarks.costs import count_module_macs
from nas.errors import InvalidInputError
from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.kinds.kind import Place
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import Options
from search_spaces.architecture.spec import Architecture
from search_spaces.network.parts import find_part
from tests.models import kept_bytes, randomise

DYNAMIC = (("bias", "dynamic"),)
PLAIN = (("bias", "none"), ("padding", "zero"))
OBLONG = (("columns", "4"), ("rows", "5"))
CASES: tuple[tuple[str, Options], ...] = (
    ("window", ()),
    ("window", OBLONG),
    ("window", DYNAMIC),
    ("window", PLAIN),
    ("grid", ()),
    ("grid", OBLONG),
    ("grid", (*DYNAMIC, ("interval", "3"))),
    ("halo", ()),
    ("halo", (("block", "7"), ("halo", "2"), ("projection", "linear"), ("query_dim", "4"))),
    ("neighbourhood", ()),
    ("neighbourhood", (("bias", "none"), ("dilation", "2"), ("kernel", "4"))),
    ("neighbourhood", (("dilation", "4"), ("kernel", "3"))),
    ("channel_group", (("form", "released"),)),
)
SIZES = ((1, 1), (8, 8), (14, 14), (10, 13), (3, 20))


def make_mixer(name: str, options: Options, width: int = 32, heads: int = 4) -> nn.Module:
    """In inference mode, every term of its formula at work."""
    block = {"heads": heads, "head_dim": width // heads, "options": options}
    return randomise(find_part("mixers", name)(width, block))


def tokens(height: int, side: int, width: int = 32, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, height, side, width, generator=torch.Generator().manual_seed(0))


def seen_from(module: nn.Module, height: int, side: int, row: int, column: int) -> set[tuple[int, int]]:
    """Positions of the input that the output at (row, column) depends on."""
    x = tokens(height, side, batch=1).requires_grad_()
    module(x)[0, row, column].sum().backward()
    assert x.grad is not None
    return {(y, z) for y, z in x.grad[0].abs().sum(dim=2).nonzero().tolist()}


def square(rows: range, columns: range) -> set[tuple[int, int]]:
    return {(row, column) for row in rows for column in columns}


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_maps_of_any_size_give_finite_values_and_gradients(name: str, options: Options) -> None:
    module = make_mixer(name, options)
    for height, side in SIZES:
        x = tokens(height, side)
        out = module(x)
        assert out.shape == x.shape
        module.zero_grad()
        out.square().mean().backward()
        assert out.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
        first = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
        torch.testing.assert_close(module(first), out, rtol=1e-4, atol=1e-4)
    module(tokens(56, 56, batch=1)).sum().backward()


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_half_precision_is_near(name: str, options: Options) -> None:
    module = make_mixer(name, options)
    x = tokens(10, 13)
    expected = module(x)
    half = module.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert (half - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize(("width", "heads", "size"), [(32, 4, 8), (48, 3, 14), (32, 2, 5), (64, 2, 28)])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_costs_are_those_of_the_module(name: str, options: Options, width: int, heads: int, size: int) -> None:
    spec = BlockSpec("attention", attention=name, heads=heads, head_dim=width // heads, options=options)
    module = make_mixer(name, options, width, heads)
    param_count, macs = KINDS[name].costs(spec, width, size**2)
    assert param_count == sum(parameter.numel() for parameter in module.parameters())
    assert macs == pytest.approx(count_module_macs(module, tokens(size, size, width, 1)), rel=1e-2)


@pytest.mark.parametrize("name", ["window", "grid", "halo", "neighbourhood"])
def test_memory_grows_linearly(name: str) -> None:
    """Four times the positions, four times the bytes. A table of pairs would make it sixteen."""
    module = make_mixer(name, ())
    assert kept_bytes(module, tokens(112, 112, batch=1)) / kept_bytes(module, tokens(56, 56, batch=1)) < 4.1


def test_a_window_sees_itself_and_a_grid_group_what_has_its_remainders() -> None:
    window = make_mixer("window", OBLONG)
    assert seen_from(window, 10, 12, 7, 5) == square(range(5, 10), range(4, 8))
    grid = make_mixer("grid", OBLONG)
    assert seen_from(grid, 10, 12, 7, 5) == square(range(1, 10, 2), range(2, 12, 3))
    far = make_mixer("grid", (("columns", "3"), ("interval", "2"), ("rows", "3")))
    assert seen_from(far, 12, 12, 7, 2) == square(range(7, 12, 2), range(0, 6, 2))


def test_a_cut_window_sees_no_padding_unless_it_is_told_to() -> None:
    """On a map of 5 x 6, a window of 7 x 7 is full attention with the biases of its offsets; padding that takes part
    changes that."""
    module = make_mixer("window", ())
    x = tokens(5, 6)
    full = find_part("mixers", "full")(32, {"heads": 4, "head_dim": 8, "position": "relative", "map_size": 7})
    weights = module.state_dict()
    full.load_state_dict(weights)
    full.bias.rows = 5
    full.bias.columns = 6
    # The offset is key - query here and query - key there.
    full.bias.bias_table.data = weights["bias.bias_table"].flip(1, 2)[:, 2:-2, 1:-1]
    torch.testing.assert_close(module(x), full(x), rtol=1e-4, atol=1e-4)
    padded = make_mixer("window", (("padding", "zero"),))
    padded.load_state_dict(weights)
    assert (padded(x) - module(x)).abs().max() > 0.01


def test_a_sign_turns_the_table_around() -> None:
    module = make_mixer("window", ())
    turned = make_mixer("window", (("sign", "query_key"),))
    weights = module.state_dict()
    turned.load_state_dict({**weights, "bias.bias_table": weights["bias.bias_table"].flip(1, 2)})
    torch.testing.assert_close(turned(tokens(14, 14)), module(tokens(14, 14)))


def test_groups_of_dynamic_bias_shrink_to_a_small_map() -> None:
    """As published: on a map that is no larger than a group, near and far attention are one."""
    near = make_mixer("window", DYNAMIC)
    far = make_mixer("grid", (*DYNAMIC, ("interval", "2")))
    far.load_state_dict(near.state_dict())
    torch.testing.assert_close(near(tokens(5, 10)), far(tokens(5, 10)))
    assert seen_from(near, 5, 10, 1, 7) == square(range(5), range(5, 10))


def test_a_halo_reaches_over_its_block() -> None:
    module = make_mixer("halo", (("block", "4"), ("halo", "1")))
    assert seen_from(module, 12, 8, 5, 6) == square(range(3, 9), range(3, 8))


def test_what_lies_outside_the_map_takes_a_share_of_a_halo() -> None:
    """Keys of zero and no bias: with equal keys inside, a corner's weights are those of all positions of its window."""
    module = make_mixer("halo", (("block", "4"), ("halo", "1")))
    nn.init.zeros_(module.q.weight)
    nn.init.zeros_(module.row_table)
    x = torch.ones(1, 8, 8, 32)
    out = module(x)[0]
    values = module.kv(x[0, 0, 0]).view(4, 16)[:, 8:].flatten()
    torch.testing.assert_close(out[0, 0], values * 25 / 36, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out[7, 7], values * 25 / 36, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kernel", "dilation", "height", "side"), [(3, 1, 9, 7), (4, 1, 8, 11), (3, 2, 7, 9)])
def test_every_position_has_equally_many_neighbours(kernel: int, dilation: int, height: int, side: int) -> None:
    module = make_mixer("neighbourhood", (("dilation", str(dilation)), ("kernel", str(kernel))))
    for row, column in ((0, 0), (1, side - 1), (height // 2, side // 2), (height - 1, side - 2)):
        rows = neighbours(row, height, kernel, dilation)
        columns = neighbours(column, side, kernel, dilation)
        assert seen_from(module, height, side, row, column) == square(rows, columns)


def neighbours(position: int, length: int, kernel: int, dilation: int) -> range:
    """Those of a position on a line of its remainder, moved inwards at the ends."""
    remainder = position % dilation
    count = len(range(remainder, length, dilation))
    start = min(max(position // dilation - kernel // 2, 0), count - kernel)
    first = remainder + start * dilation
    return range(first, first + kernel * dilation, dilation)


@pytest.mark.parametrize("name", ["window", "grid", "halo", "neighbourhood"])
@pytest.mark.parametrize("size", [1, 2, 4, 7, 8, 11, 14, 16, 56])
def test_what_a_search_sets_can_be_built_and_fits_the_map(name: str, size: int) -> None:
    options = KINDS[name].searched(Place(stage=0, map_size=size, width=32))
    block = BlockSpec("attention", attention=name, heads=4, head_dim=8, options=options, ffn="mlp", ffn_ratio=2)
    stages = (StageSpec(32, "none", 1, (block,)),)
    architecture = Architecture(StemSpec("patchify", 32, "layer"), stages, "layer", 4 * size, 3, 10)
    assert Architecture.from_spec(architecture.to_spec()) == architecture
    chosen = dict(options)
    sides = {"window": "rows", "grid": "rows", "halo": "block", "neighbourhood": "kernel"}
    side = int(chosen.get(sides[name], 7))
    expected = {1: 1, 2: 2, 4: 4, 7: 7, 8: 4, 11: 7, 14: 7, 16: 4, 56: 7}
    assert side == (min(7, size) if name == "neighbourhood" else expected[size])


@pytest.mark.parametrize(
    ("width", "options", "message"),
    [
        (8, DYNAMIC, "a dynamic bias at 8 channels; expected at least 16"),
        (
            32,
            (("bias", "none"), ("sign", "query_key")),
            "sign 'query_key' and bias 'none'; expected a sign with a table",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(width: int, options: Options, message: str) -> None:
    block = BlockSpec("attention", attention="window", heads=2, head_dim=width // 2, options=options)
    stages = (StageSpec(width, "none", 1, (block,)),)
    spec = Architecture(StemSpec("patchify", width, "layer"), stages, "layer", 32, 3, 10).to_spec()
    with pytest.raises(InvalidInputError, match=message):
        Architecture.from_spec(spec)


def test_released_channel_attention_is_the_other_with_its_streams_exchanged() -> None:
    """Keys, values and queries of the released form are queries, keys and values; the scale is that of a head."""
    released = make_mixer("channel_group", (("form", "released"),))
    scaled = make_mixer("channel_group", ())
    weights = released.state_dict()
    q, k, v = weights["qkv.weight"].chunk(3)
    q_bias, k_bias, v_bias = weights["qkv.bias"].chunk(3)
    positions_over_dim = (6 * 5 / 8) ** 0.5
    weights["qkv.weight"] = torch.cat([k * positions_over_dim, v, q])
    weights["qkv.bias"] = torch.cat([k_bias * positions_over_dim, v_bias, q_bias])
    scaled.load_state_dict(weights)
    torch.testing.assert_close(released(tokens(6, 5)), scaled(tokens(6, 5)), rtol=1e-4, atol=1e-4)
