"""The mixers against their formulas, written plainly."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from timm.models.davit import ChannelAttentionV2

from search_spaces.architecture import downsamples, ffns, heads, kinds, stems
from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.by_file import find_kinds
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.network import parts
from search_spaces.network.mixers.full import FullAttention
from search_spaces.network.mixers.key_only import KeyOnlyAttention
from search_spaces.network.parts import find_part
from tests.models import randomise


def tokens(width: int, height: int = 6, side: int = 5) -> torch.Tensor:
    return torch.randn(2, height, side, width, generator=torch.Generator().manual_seed(0))


def test_every_mixer_is_one_file_and_one_entry() -> None:
    modules = {path.stem for path in (Path(parts.__file__).parent / "mixers").glob("*.py")} - {"__init__"}
    entries = {path.stem for path in Path(kinds.__path__[0]).glob("*.py")} - {"__init__", "kind", "registry"}
    assert modules == entries == set(KINDS)
    assert all(find_part("mixers", name).__module__ == f"search_spaces.network.mixers.{name}" for name in KINDS)


@pytest.mark.parametrize("folder", [ffns, stems, downsamples, heads], ids=lambda folder: folder.__name__)
def test_every_other_part_is_one_file_and_one_entry(folder: ModuleType) -> None:
    name = folder.__name__.rpartition(".")[2]
    modules = {path.stem for path in (Path(parts.__file__).parent / name).glob("*.py")} - {"__init__"}
    assert modules == set(find_kinds(folder))
    assert all(find_part(name, module).__module__ == f"search_spaces.network.{name}.{module}" for module in modules)


def test_full_attention_is_softmax_of_all_pairs() -> None:
    module = randomise(FullAttention(16, {"heads": 2, "head_dim": 8}))
    x = tokens(16)
    q, k, v = (
        part.reshape(2, 30, 2, 8).transpose(1, 2)
        for part in F.linear(x, module.qkv.weight, module.qkv.bias).chunk(3, dim=3)
    )
    mixed = ((q @ k.transpose(2, 3)) / 8**0.5).softmax(dim=3) @ v
    torch.testing.assert_close(module(x), module.proj(mixed.transpose(1, 2).reshape(2, 6, 5, 16)), rtol=1e-4, atol=1e-4)


def test_key_only_attention_is_its_formula() -> None:
    module = randomise(KeyOnlyAttention(16, {"heads": 2, "head_dim": 8}))
    x = tokens(16)
    keys, values = F.linear(x, module.kv.weight, module.kv.bias).chunk(2, dim=3)
    parts = []
    for head in range(2):
        own = slice(8 * head, 8 * head + 8)
        saliency = torch.einsum("bhwd,d->bhw", keys[..., own], module.gate[head, :, 0]) / 8**0.5
        weights = saliency.flatten(1).softmax(dim=1).view_as(saliency)
        context = torch.einsum("bhw,bhwd->bd", weights, values[..., own])
        parts.append(torch.sigmoid(keys[..., own]) * context[:, None, None])
    torch.testing.assert_close(module(x), module.proj(torch.cat(parts, dim=3)), rtol=1e-4, atol=1e-4)
    assert sum(parameter.numel() for parameter in module.parameters()) == 3 * 16 * 16 + 3 * 16 + 16


def oracle_key_only(module: KeyOnlyAttention, x: torch.Tensor, options: dict[str, str], heads: int) -> torch.Tensor:
    """One head after the other, positions flattened, every knob written out."""
    batch = x.shape[0]
    width = x.shape[3]
    dim = width // heads
    keys, values = F.linear(x, module.kv.weight, module.kv.bias).flatten(1, 2).chunk(2, dim=2)
    parts = []
    for head in range(heads):
        own = slice(dim * head, dim * head + dim)
        k = keys[..., own]
        v = values[..., own]
        per_channel = options.get("gate") == "channel"
        if options.get("source") == "bottleneck":
            gates = F.linear(
                F.relu(F.linear(keys, module.bottleneck.reduce.weight, module.bottleneck.reduce.bias)),
                module.bottleneck.expand.weight,
            )
            saliency = gates[..., own] if per_channel else gates[..., head : head + 1]
        else:
            saliency = k * module.gate[head] if per_channel else (k @ module.gate[head]) / dim**0.5
        if options.get("normaliser") == "sigmoid":
            weights = torch.sigmoid(saliency + module.bias[head]) / saliency.shape[1]
        elif options.get("normaliser") == "l2":
            weights = saliency / saliency.square().sum(dim=1, keepdim=True).sqrt()
        else:
            weights = saliency.exp() / saliency.exp().sum(dim=1, keepdim=True)
        context = (weights * v).sum(dim=1, keepdim=True)
        combine = options.get("combine", "sigmoid_key")
        local = {"sigmoid_key": torch.sigmoid(k), "relu_key": F.relu(k), "key": k, "value": v}
        parts.append(v + context if combine == "add" else local[combine] * context)
    out = torch.cat(parts, dim=2).view(batch, *x.shape[1:])
    return out if options.get("projection") == "none" else F.linear(out, module.proj.weight, module.proj.bias)


@pytest.mark.parametrize(
    "options",
    [
        {},
        *({knob: value} for knob, values in (KINDS["key_only"].options or {}).items() for value in values[1:]),
        {"gate": "channel", "source": "bottleneck", "normaliser": "sigmoid", "combine": "add", "projection": "none"},
        {"gate": "channel", "normaliser": "l2", "combine": "value"},
    ],
    ids=str,
)
def test_every_knob_of_key_only_attention_is_its_formula(options: dict[str, str]) -> None:
    block = {"heads": 2, "head_dim": 8, "options": sorted(options.items())}
    module = randomise(KeyOnlyAttention(16, block))
    torch.testing.assert_close(
        module(tokens(16)), oracle_key_only(module, tokens(16), options, 2), rtol=1e-4, atol=1e-4
    )
    spec = BlockSpec("attention", attention="key_only", heads=2, head_dim=8, options=tuple(sorted(options.items())))
    assert KINDS["key_only"].costs(spec, 16, 30)[0] == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("width", [32, 64])
def test_large_kernel_attention_is_its_formula_and_has_the_published_parameters(width: int) -> None:
    module = randomise(find_part("mixers", "lka")(width, {}))
    x = tokens(width, 12, 11)
    u = F.gelu(F.linear(x, module.proj_in.weight, module.proj_in.bias)).permute(0, 3, 1, 2)
    near = F.conv2d(u, module.conv_local.weight, module.conv_local.bias, padding=2, groups=width)
    far = F.conv2d(near, module.conv_dilated.weight, module.conv_dilated.bias, padding=9, dilation=3, groups=width)
    attention = F.conv2d(far, module.mix.weight[:, :, None, None], module.mix.bias)
    weighted = F.conv2d(u * attention, module.proj.weight[:, :, None, None], module.proj.bias)
    torch.testing.assert_close(module(x), weighted.permute(0, 2, 3, 1) + x, rtol=1e-4, atol=1e-3)
    assert sum(parameter.numel() for parameter in module.parameters()) == 3 * width**2 + 79 * width
    assert KINDS["lka"].costs(BlockSpec("attention", attention="lka"), width, 1)[0] == 3 * width**2 + 79 * width


def test_channel_group_attention_is_timms_of_davit() -> None:
    module = randomise(find_part("mixers", "channel_group")(32, {"heads": 4, "head_dim": 8}))
    theirs = ChannelAttentionV2(32, num_heads=4)
    theirs.load_state_dict(module.state_dict())
    x = tokens(32)
    torch.testing.assert_close(module(x), theirs(x.flatten(1, 2)).view(x.shape), rtol=1e-4, atol=1e-4)
    assert sum(parameter.numel() for parameter in module.parameters()) == 4 * 32**2 + 4 * 32


@pytest.mark.parametrize("name", ["key_only", "group_mix", "channel_group", "lka"])
def test_memory_of_linear_attention_grows_linearly(name: str) -> None:
    """What the backward pass keeps: four times the positions, four times the elements. A table of pairs would make it
    sixteen."""
    segments = {"group_sizes": (1, 3, 5, 7), "conv_branch": True}
    module = find_part("mixers", name)(40, {"heads": 4, "head_dim": 8 if name == "group_mix" else 10, **segments})

    def kept(side: int) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = module(torch.randn(1, side, side, 40))
        del out
        return sum(sizes.values())

    assert kept(48) / kept(24) < 4.1
