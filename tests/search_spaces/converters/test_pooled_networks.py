"""PVTv2 and Next-ViT against timm's, and TransNeXt's names against those of the authors' modules."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import timm
import torch

from nas.errors import InvalidInputError
from search_spaces.build import build_model
from search_spaces.checkpoints import Weights
from search_spaces.converters import nextvit, pvt_v2, transnext
from search_spaces.published.families import PRESETS
from tests.golden_mixers import DATA, load
from tests.models import images, randomise

Convert = Callable[[Mapping[str, Any]], Weights]


def theirs_of(name: str) -> torch.nn.Module:
    """timm's network with weights and statistics that leave nothing at its start."""
    torch.manual_seed(0)
    model: torch.nn.Module = timm.create_model(name).eval()
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(0.5 + torch.rand_like(buffer))
    return model


@pytest.mark.parametrize(("name", "convert"), [("pvt_v2_b0", pvt_v2.convert), ("nextvit_small", nextvit.convert)])
def test_logits_are_timms_with_timms_weights(name: str, convert: Convert) -> None:
    theirs = theirs_of(name)
    ours = build_model(PRESETS[name].architecture).eval()
    ours.load_state_dict(convert(theirs.state_dict()))
    with torch.inference_mode():
        expected = theirs(images(64, 2))
        torch.testing.assert_close(ours(images(64, 2)), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_nextvit_is_timms_at_sides_that_leave_a_rest_of_tokens() -> None:
    theirs = theirs_of("nextvit_small")
    ours = build_model(PRESETS["nextvit_small"].architecture).eval()
    ours.load_state_dict(nextvit.convert(theirs.state_dict()))
    x = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


def authors_names(depths: tuple[int, ...]) -> list[str]:
    """Every entry of a published TransNeXt, with those of its modules from the golden files."""
    aggregated = load(DATA / "transnext_aggregated_14x14.npz")[1]
    cosine = load(DATA / "transnext_cosine_7x7.npz")[1]
    glu = load(DATA / "conv_glu_14x14.npz")[1]
    layers = ("patch_embed{}.proj", "patch_embed{}.norm", "norm{}")
    names = [f"head.{field}" for field in ("weight", "bias")]
    for stage, depth in enumerate(depths, 1):
        names += [f"{layer.format(stage)}.{field}" for layer in layers for field in ("weight", "bias")]
        attention = cosine if stage == 4 else aggregated
        for index in range(depth):
            block = f"block{stage}.{index}"
            names += [f"{block}.norm{number}.{field}" for number in (1, 2) for field in ("weight", "bias")]
            names += [f"{block}.attn.{entry}" for entry in attention]
            names += [f"{block}.mlp.{entry}" for entry in glu]
    return names


def test_every_name_of_a_published_transnext_is_one_of_ours() -> None:
    with torch.device("meta"):
        ours = build_model(PRESETS["transnext_micro"].architecture).state_dict()
    published = {name: torch.zeros(3) for name in authors_names((2, 2, 15, 2))}
    assert set(transnext.convert({"model": published})) == set(ours)


def test_rows_of_queries_keys_and_values_stay_in_order() -> None:
    rows = torch.arange(12).view(6, 2)
    split = transnext.split_qkv_rows({"a.qkv.weight": rows, "b": rows})
    assert list(split) == ["a.q.weight", "a.kv.weight", "b"]
    assert torch.equal(torch.cat((split["a.q.weight"], split["a.kv.weight"])), rows)
    joined = nextvit.join_keys_and_values({"a.v.bias": rows[2:], "a.q.bias": rows[:2], "a.k.bias": rows[:2]})
    assert sorted(joined) == ["a.kv.bias", "a.q.bias"] and torch.equal(joined["a.kv.bias"][:2], rows[:2])


@pytest.mark.parametrize("convert", [pvt_v2.convert, transnext.convert, nextvit.convert])
def test_strange_entries_are_named(convert: Convert) -> None:
    with pytest.raises(InvalidInputError, match=r"1 entries that its network does not have: cls_token"):
        convert({"cls_token": torch.zeros(1)})


def test_widening_networks_give_one_feature_per_resolution() -> None:
    with torch.device("meta"):
        model = build_model(PRESETS["nextvit_small"].architecture)
    assert [info["num_chs"] for info in model.feature_info] == [96, 256, 512, 1024]
    assert [info["module"] for info in model.feature_info] == ["stages.0", "stages.2", "stages.6", "stages.8"]


def test_pruning_a_network_with_several_stages_of_one_resolution() -> None:
    torch.manual_seed(0)
    model = randomise(build_model(PRESETS["nextvit_small"].architecture))
    with torch.inference_mode():
        maps = model.forward_intermediates(images(64), intermediates_only=True)
        assert [tuple(feature.shape[1:3]) for feature in maps] == [(96, 16), (256, 8), (512, 4), (1024, 2)]
        assert model.prune_intermediate_layers([-3]) == [1] and len(model.stages) == 3
        kept = model.forward_intermediates(images(64), intermediates_only=True)
        assert len(kept) == 2
        torch.testing.assert_close(kept[1], maps[1])
