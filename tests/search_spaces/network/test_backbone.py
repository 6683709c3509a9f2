"""The networks: they learn, they follow timm's conventions, they take other sizes than the searched one."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from timm.models import build_model_with_cfg
from torch import nn

from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.spec import Architecture
from search_spaces.build import build_model
from search_spaces.hybrid_layout import HybridLayout
from search_spaces.network.backbone import HybridBackbone

SPACE = HybridLayout("nano", 32, 1, 10)
PRESETS = {name: SPACE.architecture(genotype) for name, genotype in SPACE.presets().items()}


def make(name: str, **arguments: Any) -> HybridBackbone:
    torch.manual_seed(0)
    return HybridBackbone(PRESETS[name].to_spec(), **arguments)


def images(size: int = 32, in_chans: int = 1, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, in_chans, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("kind", ["presets", "random"])
def test_every_parameter_gets_a_finite_gradient(kind: str, size: int) -> None:
    rng = np.random.default_rng(2)
    architectures = (
        PRESETS.values() if kind == "presets" else [SPACE.architecture(SPACE.sample(rng)) for _ in range(10)]
    )
    for architecture in architectures:
        torch.manual_seed(0)
        model = build_model(architecture.to_spec())
        logits = model(images(size))
        assert logits.shape == (2, 10)
        logits.square().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_a_searched_network_also_builds_for_real_images() -> None:
    model = make("groupmixformer", num_classes=1000, in_chans=3).eval()
    with torch.no_grad():
        assert model(images(224, 3, 1)).shape == (1, 1000)
    assert {name for name, _ in model.named_parameters()} == {
        name for name, _ in make("groupmixformer").named_parameters()
    }


@pytest.mark.parametrize("name", ["groupmixformer", "convnext", "linglo_alternate", "moat"])
def test_features_only_gives_every_stage_through_timm(name: str) -> None:
    spec = PRESETS[name].to_spec()
    model = build_model_with_cfg(
        HybridBackbone,
        "hybrid_backbone",
        False,
        pretrained_cfg={"num_classes": 10, "input_size": (1, 32, 32), "classifier": "head.fc"},
        feature_cfg={"out_indices": (0, 1, 2), "flatten_sequential": True},
        features_only=True,
        spec=spec,
    ).eval()
    whole = make(name).eval()
    weights = {
        key.replace("stages_", "stages.").replace("stem_", "stem."): value for key, value in model.state_dict().items()
    }
    assert whole.load_state_dict(weights, strict=False).unexpected_keys == []
    features = model(images())
    assert model.feature_info.channels() == [stage["width"] for stage in spec["stages"]]
    assert model.feature_info.reduction() == [4, 8, 16]
    assert [feature.shape[2:] for feature in features] == [(8, 8), (4, 4), (2, 2)]
    final, intermediates = whole.forward_intermediates(images())
    for feature, intermediate in zip(features, intermediates, strict=True):
        torch.testing.assert_close(feature, intermediate)
    torch.testing.assert_close(final, whole.forward_features(images()))


def test_forward_intermediates_takes_indices_and_stops_early() -> None:
    model = make("groupmixformer").eval()
    model.norm.running_mean.fill_(1.0)
    every = model.forward_intermediates(images(), intermediates_only=True)
    assert len(every) == 3
    last_two = model.forward_intermediates(images(), indices=2, intermediates_only=True)
    first = model.forward_intermediates(images(), indices=[0], stop_early=True, intermediates_only=True)
    torch.testing.assert_close(last_two, every[1:])
    torch.testing.assert_close(first, every[:1])
    normed = model.forward_intermediates(images(), indices=[2], norm=True, intermediates_only=True)[0]
    torch.testing.assert_close(normed, model.forward_features(images()))
    assert not torch.allclose(normed, every[2])


def test_pruning_keeps_the_wanted_stages() -> None:
    model = make("groupmixformer").eval()
    wanted = model.forward_intermediates(images(), indices=[1], intermediates_only=True)[0]
    assert model.prune_intermediate_layers([1]) == [1]
    assert len(model.stages) == 2
    torch.testing.assert_close(model.forward_features(images()), wanted)
    assert isinstance(model.get_classifier(), nn.Identity)


@pytest.mark.parametrize("name", ["groupmixformer", "convnext"])
def test_classifier_can_be_replaced_removed_and_unpooled(name: str) -> None:
    model = make(name, drop_rate=0.1).eval()
    features = model.forward_features(images())
    torch.testing.assert_close(model.forward_head(features), model(images()))
    assert model.forward_head(features, pre_logits=True).shape == (2, model.num_features)
    model.reset_classifier(7)
    assert model(images()).shape == (2, 7) and model.num_classes == 7 and model.get_classifier().out_features == 7
    model.reset_classifier(0)
    assert model(images()).shape == (2, model.num_features)
    model.reset_classifier(0, "")
    assert model(images()).shape == features.shape


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_checkpointing_changes_memory_and_not_gradients(name: str) -> None:
    gradients = []
    for enable in (False, True):
        model = make(name).eval()  # BatchNorm would otherwise count a recomputed batch twice
        model.set_grad_checkpointing(enable)
        model(images()).sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_drop_path_rises_with_depth_and_acts_in_training_only() -> None:
    model = make("groupmixformer", drop_path_rate=0.5)
    rates = [module.drop_prob for name, module in model.named_modules() if name.endswith("drop_path")]
    assert rates[0] == 0.0 and rates[-1] == 0.5 and rates == sorted(rates)
    plain = make("groupmixformer")
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model.eval()(images()), plain.eval()(images()))
    batch = images(batch=64)
    assert not torch.allclose(model.train()(batch), plain.train()(batch))


def test_group_matcher_covers_every_parameter() -> None:
    model = make("linglo_fused")
    patterns = [model.group_matcher()["stem"], *(pattern for pattern, _ in model.group_matcher()["blocks"]), r"^head"]
    assert all(any(re.match(pattern, name) for pattern in patterns) for name, _ in model.named_parameters())
    gates = model.no_weight_decay()
    assert gates and all(name.endswith("mixer.gate") for name in gates)


def test_same_seed_gives_the_same_network_and_names_say_where_a_parameter_is() -> None:
    one = make("groupmixformer").state_dict()
    other = make("groupmixformer").state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert {
        "stem.0.weight",
        "stages.0.blocks.0.mixer.qkv.weight",
        "stages.1.downsample.conv_dw.weight",
        "norm.weight",
        "head.fc.bias",
    } <= set(one)


def test_frames_that_only_a_spec_can_say() -> None:
    """LayerNorm in a convolution stem, layer scale, a first stage with its own downsampling, MBConv with
    squeeze-and-excitation."""
    scaled = BlockSpec("conv", conv="dwconv", kernel=7, conv_ratio=4, layer_scale=1e-6)
    excited = BlockSpec("conv", conv="mbconv", kernel=3, conv_ratio=4, se_ratio=0.25)
    stages = (StageSpec(16, "separable", 1, (scaled,)), StageSpec(24, "overlap", 2, (excited,)))
    model = build_model(Architecture(StemSpec("conv", 16, "layer"), stages, "layer", 32, 3, 10))
    assert torch.equal(model.stages[0].blocks[0].mixer.gamma, torch.full((16,), 1e-6))
    assert model(images(40, 3)).shape == (2, 10)
    assert model.feature_info[-1]["reduction"] == 8
