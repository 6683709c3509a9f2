"""Group-mix attention against its printed formulation, a loop over segments and heads, and a block of the released
network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.plain_mixers import PlainGroupMix
from search_spaces.checkpoints import convert_groupmixformer_entries
from search_spaces.network.blocks import AttentionBlock
from search_spaces.network.mixers.group_mix import GroupMixAttention
from tests.models import randomise

GOLDEN = Path(__file__).parents[2] / "data" / "gma_block_golden.npz"
PUBLISHED_BLOCK = "groupmixformer_backbone.0.gma_stage.0."
OUR_BLOCK = "stages.0.blocks.0."


def make_block(
    width: int, heads: int = 8, kernels: tuple[int, ...] = (1, 3, 5, 7), branch: bool = True, ratio: int = 4
) -> dict[str, Any]:
    attended = width * len(kernels) // (len(kernels) + branch)
    return {
        "kind": "attention",
        "attention": "group_mix",
        "heads": heads,
        "head_dim": attended // heads,
        "group_sizes": kernels,
        "conv_branch": branch,
        "position": "cpe",
        "ffn": "mlp",
        "ffn_ratio": ratio,
    }


def tokens(width: int, height: int = 6, side: int = 5) -> torch.Tensor:
    return torch.randn(2, height, side, width, generator=torch.Generator().manual_seed(0))


def converted(entries: dict[str, torch.Tensor], part: str = "") -> dict[str, torch.Tensor]:
    """Entries of a published block (part "") or of its attention ("att.") under our names, relative to the same
    part."""
    ours = convert_groupmixformer_entries({PUBLISHED_BLOCK + part + name: value for name, value in entries.items()})
    return {name.removeprefix(OUR_BLOCK + ("mixer." if part else "")): value for name, value in ours.items()}


@pytest.mark.parametrize(
    ("width", "ratio", "published"),
    [(80, 4, 84_080), (160, 4, 324_832), (320, 4, 1_276_352), (200, 4, 503_960), (240, 4, 722_256), (40, 4, 22_456)],
)
def test_blocks_have_the_published_parameter_count(width: int, ratio: int, published: int) -> None:
    block = AttentionBlock(width, make_block(width, ratio=ratio), 0.0)
    assert sum(parameter.numel() for parameter in block.parameters()) == published


def test_released_block_gives_its_recorded_outputs() -> None:
    """The file's attention output is that of the block's input itself, before position encoding and norm."""
    golden = {name: torch.from_numpy(value) for name, value in np.load(GOLDEN).items()}
    height, side = golden["size"].tolist()
    block = AttentionBlock(80, make_block(80), 0.0).eval()
    block.load_state_dict(converted({name[8:]: value for name, value in golden.items() if name.startswith("weights/")}))
    x = golden["block_in"].view(2, height, side, 80)
    with torch.no_grad():
        attended = block.mixer(x)
        out = block(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(attended.flatten(1, 2), golden["att_out"], rtol=0, atol=1e-5)
    torch.testing.assert_close(out.flatten(1, 2), golden["block_out"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_outputs_gradients_and_statistics_are_those_of_the_printed_formulation(training: bool) -> None:
    plain = PlainGroupMix(80).double()
    ours = GroupMixAttention(80, make_block(80)).double()
    randomise(plain)
    plain.double().train(training)
    ours.load_state_dict(converted(plain.state_dict(), "att."))
    ours.train(training)
    inputs = [tokens(80, 9, 7).double().requires_grad_() for _ in range(2)]
    outputs = [module(x) for module, x in zip((plain, ours), inputs, strict=True)]
    for out in outputs:
        out.backward(torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape))
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad)
    gradients = converted({name: parameter.grad for name, parameter in plain.named_parameters()}, "att.")
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], msg=lambda text, name=name: f"{name}: {text}")
    statistics = converted(plain.state_dict(), "att.")
    torch.testing.assert_close(dict(ours.named_buffers()), {name: statistics[name] for name, _ in ours.named_buffers()})


def looped(module: GroupMixAttention, x: torch.Tensor, kernels: tuple[int, ...], branch: bool) -> torch.Tensor:
    """Any kernels, with or without branch: queries, keys and values apart, one loop per segment and head, channels
    first."""
    batch, height, side, width = x.shape
    segment = width // (len(kernels) + branch)
    dim = module.head_dim
    projected = F.linear(x, module.qkv.weight, module.qkv.bias).permute(0, 3, 1, 2).split(segment, dim=1)
    mixed = []
    skipped = []
    for stream in range(3):
        parts = []
        for index, aggregator in enumerate(module.aggregators):
            part = projected[3 * index + stream]
            if kernels[index] > 1:
                part = F.conv2d(part, aggregator.conv_dw.weight, padding=kernels[index] // 2, groups=segment)
                part = F.conv2d(part, aggregator.conv_pw.weight)
            own = slice(index * segment, (index + 1) * segment)
            norm = module.norm
            parts.append(
                F.hardswish(
                    F.batch_norm(part, norm.running_mean[own], norm.running_var[own], norm.weight[own], norm.bias[own])
                )
            )
        mixed.append(torch.cat(parts, dim=1))
        skipped.append(projected[3 * len(kernels) + stream] if branch else part)
    queries, keys, values = (part.flatten(2) for part in mixed)
    large = 3 * module.heads // 8
    sizes = [3] * (module.heads - 2 * large) + [5] * large + [7] * large
    heads = []
    positional = dict(zip(sorted(set(sizes)), module.position.convs, strict=True))
    for head, size in enumerate(sizes):
        own = slice(head * dim, (head + 1) * dim)
        first = sizes.index(size) * dim
        conv = positional[size]
        local = slice(own.start - first, own.stop - first)
        encoded = F.conv2d(
            mixed[2][:, own], conv.weight[local], conv.bias[local], padding=size // 2, groups=dim
        ).flatten(2)
        weights = keys[:, own].exp() / keys[:, own].exp().sum(dim=2, keepdim=True)
        context = torch.einsum("bkn,bvn->bkv", weights, values[:, own])
        attended = torch.einsum("bkn,bkv->bvn", queries[:, own], context) / (width / module.heads) ** 0.5
        heads.append(attended + queries[:, own] * encoded)
    out = torch.cat(heads, dim=1).view(batch, -1, height, side).permute(0, 2, 3, 1)
    if branch:
        local = F.conv2d(torch.cat(skipped, dim=1), module.branch.conv_dw.weight, padding=1, groups=3 * segment)
        local = F.conv2d(local, module.branch.conv_pw.weight).permute(0, 2, 3, 1)
        local = F.layer_norm(local, (segment,), module.branch.norm.weight, module.branch.norm.bias, 1e-5)
        out = torch.cat([out, F.hardswish(local)], dim=3)
    return F.linear(out, module.proj.weight, module.proj.bias)


@pytest.mark.parametrize(
    ("width", "heads", "kernels", "branch"),
    [
        (80, 8, (1, 3, 5, 7), True),
        (24, 2, (1, 3), True),
        (32, 1, (3, 5, 7), True),
        (48, 5, (1, 3, 5, 7, 9), True),
        (24, 4, (1, 5, 7), False),
    ],
)
def test_every_choice_of_segments_is_its_formula(
    width: int, heads: int, kernels: tuple[int, ...], branch: bool
) -> None:
    module = GroupMixAttention(width, make_block(width, heads, kernels, branch))
    randomise(module)
    module.eval()
    torch.testing.assert_close(
        module(tokens(width)), looped(module, tokens(width), kernels, branch), rtol=1e-4, atol=1e-4
    )


def test_batch_statistics_are_taken_over_queries_keys_and_values_together() -> None:
    module = GroupMixAttention(40, make_block(40, 4)).train()
    x = tokens(40)
    module(x)
    joint = F.linear(x, module.qkv.weight, module.qkv.bias)[..., :24].reshape(
        -1, 8
    )  # the token segment's three streams
    torch.testing.assert_close(module.norm.running_mean[:8], 0.1 * joint.mean(dim=0))
    torch.testing.assert_close(module.norm.running_var[:8], 0.9 + 0.1 * joint.var(dim=0))
