"""The presets: published counts to the integer, published weights, and everything that timm's own tests ask of a
model."""

import re

import numpy as np
import pytest
import timm
import torch
from timm.models import FeatureInfo
from timm.optim import create_optimizer_v2

import search_spaces.presets
from nas.errors import InvalidInputError
from search_spaces.architecture.costs import costs
from search_spaces.architecture.spec import Architecture
from search_spaces.network.layers.positions import RelativePositionBias
from search_spaces.presets import MODEL_NAMES
from search_spaces.published.families import PRESETS, find_preset
from tests.models import ONE_PER_FAMILY, create, images, shallow

NAMES = tuple(MODEL_NAMES.values())
STRIDES = {"lsnet_t": [16, 32, 64], "hybrid_shvit_s1": [16, 32, 64]}
"""Networks whose stages have other strides than 4, 8, 16 and 32."""
PUBLISHED_MACS = {
    "groupmixformer_mobile": 1_349_779_632,
    "groupmixformer_tiny": 3_720_156_744,
    "groupmixformer_small": 5_164_300_528,
    "groupmixformer_base": 17_551_568_864,
    "groupmixformer_large": 38_246_340_584,
}
"""Of the released class at 224 pixels, counted by fvcore."""


@pytest.mark.parametrize("name", PRESETS)
def test_parameter_count_is_the_published_one(name: str) -> None:
    preset = PRESETS[name]
    with torch.device("meta"):
        built = sum(parameter.numel() for parameter in create(MODEL_NAMES[name]).parameters())
    assert costs(preset.architecture).param_count == built
    if preset.published_params is not None:
        assert abs(built - preset.published_params) <= preset.tolerance * preset.published_params


@pytest.mark.parametrize("name", PUBLISHED_MACS)
def test_macs_of_groupmixformer_are_the_published_ones(name: str) -> None:
    assert costs(PRESETS[name].architecture).macs == pytest.approx(PUBLISHED_MACS[name], rel=1e-4)


@pytest.mark.parametrize("size", ["b0", "b1", "b2"])
def test_grafted_twin_has_the_parameters_of_the_alternate_layout(size: str) -> None:
    alternate = PRESETS[f"linglo_{size}"].architecture
    grafted = PRESETS[f"linglo_{size}_grafted"].architecture
    assert costs(grafted).param_count == pytest.approx(costs(alternate).param_count, rel=0.005)
    assert [{block.kind for block in stage.blocks} for stage in alternate.stages] == [{"fused_serial"}] * 4
    assert [{block.kind for block in stage.blocks} for stage in grafted.stages] == [
        {"conv"},
        {"conv"},
        {"attention"},
        {"attention"},
    ]


def test_share_of_attention_grows_with_depth_in_ascan() -> None:
    stages = PRESETS["ascan_like"].architecture.stages
    shares = [sum(block.kind == "attention" for block in stage.blocks) / (len(stage.blocks) + 1) for stage in stages]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 0.75


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_spec_that_can_be_read_back(name: str) -> None:
    architecture = PRESETS[name].architecture
    assert Architecture.from_spec(architecture.to_spec()) == architecture


def test_presets_are_distinct() -> None:
    assert len({preset.architecture.arch_hash for preset in PRESETS.values()}) == len(PRESETS)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InvalidInputError,
        match=r"unknown preset 'groupmix'; expected one of groupmixformer_mobile, groupmixformer_tiny",
    ):
        find_preset("groupmix")


def ours_from_timm(name: str) -> str:
    """A parameter of timm's ConvNeXt under our name."""
    name = re.sub(r"^stages\.(\d)\.blocks\.(\d+)\.(.*)$", r"stages.\1.blocks.\2.mixer.\3", name)
    return name


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_convnext_gives_timms_logits_with_timms_weights(size: str) -> None:
    theirs = create(f"convnext_{size}").eval()
    for name, parameter in theirs.named_parameters():
        parameter.data = (
            torch.rand_like(parameter) if name.endswith("gamma") else parameter + 0.02 * torch.randn_like(parameter)
        )
    ours = create(f"hybrid_convnext_{size}").eval()
    ours.load_state_dict({ours_from_timm(name): value for name, value in theirs.state_dict().items()})
    with torch.inference_mode():
        expected = theirs(images(96, 2))
        torch.testing.assert_close(ours(images(96, 2)), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_timms_convnext_keeps_its_name() -> None:
    assert type(create("convnext_tiny")).__module__ == "timm.models.convnext"
    assert set(timm.list_models(module="presets")) == set(NAMES)


@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_config_describes_the_model(name: str) -> None:
    model = shallow(name).eval()
    cfg = model.pretrained_cfg
    weights = model.state_dict()
    assert cfg["architecture"] == name and cfg["num_classes"] == 1000 and cfg["input_size"] == (3, 224, 224)
    assert f"{cfg['classifier']}.weight" in weights
    stride = model.feature_info[-1]["reduction"]
    with torch.inference_mode():
        small = model.forward_features(images(stride))
        assert small.shape == (1, model.num_features, 1, 1)
        assert model.forward_head(small).shape == model(images(stride)).shape == (1, 1000)
        assert model.forward_head(small, pre_logits=True).shape == (1, model.head_hidden_size)
        assert model.forward_features(images(224)).shape[2:] == cfg["pool_size"]


@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_classifier_can_be_changed_and_removed(name: str) -> None:
    model = shallow(name).eval()
    features = model.num_features
    with torch.inference_mode():
        model.reset_classifier(7)
        assert model(images(32)).shape == (1, 7) and model.get_classifier().out_features == 7
        model.reset_classifier(0)
        assert model.num_classes == 0 and model(images(32)).shape == (1, model.head_hidden_size) == (1, features)
        model.reset_classifier(0, "")
        size = 2 * model.feature_info[-1]["reduction"]
        assert model(images(size)).shape == (1, features, 2, 2)
        bare = shallow(name, num_classes=0, global_pool="").eval()
        assert bare(images(size)).shape == (1, features, 2, 2)


@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_training_step_reaches_every_parameter_at_the_smallest_size(name: str) -> None:
    model = shallow(name, num_classes=42, in_chans=1).train()
    logits = model(torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1)))
    assert logits.shape == (2, 42)
    logits.mean().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), parameter_name


@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_features_have_the_channels_and_strides_that_they_name(name: str) -> None:
    model = shallow(name, features_only=True).eval()
    strides = model.feature_info.reduction()
    with torch.inference_mode():
        maps = model(images(128))
    assert strides == STRIDES.get(name, [4, 8, 16, 32])
    assert [feature.shape[1] for feature in maps] == model.feature_info.channels()
    assert [128 // feature.shape[2] for feature in maps] == strides
    chosen = shallow(name, features_only=True, out_indices=(0, len(strides) - 1)).eval()
    assert [128 // feature.shape[2] for feature in chosen(images(128))] == [strides[0], strides[-1]]


@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_intermediates_end_in_the_features_also_with_checkpointing(name: str) -> None:
    model = shallow(name).eval()
    info = FeatureInfo(model.feature_info, tuple(range(len(model.feature_info))))
    with torch.no_grad():
        final, intermediates = model.forward_intermediates(images())
        assert [feature.shape[1] for feature in intermediates] == info.channels()
        torch.testing.assert_close(final, model.forward_features(images()))
        model.set_grad_checkpointing()
        torch.testing.assert_close(model.forward_intermediates(images())[0], final)


@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_every_parameter_has_a_layer_and_biases_no_decay(name: str) -> None:
    model = shallow(name)
    matcher = model.group_matcher()
    patterns = [matcher["stem"], *(pattern for pattern, _ in matcher["blocks"]), r"^head"]
    assert all(any(re.match(pattern, parameter) for pattern in patterns) for parameter, _ in model.named_parameters())
    groups = create_optimizer_v2(model, opt="adamw", weight_decay=0.05, layer_decay=0.8).param_groups
    assert len({group["lr_scale"] for group in groups}) > len(model.stages)
    assert model.no_weight_decay() <= {parameter for parameter, _ in model.named_parameters()}


@pytest.mark.parametrize(("name", "kind"), [("linglo_b0", "mixer.gate"), ("coatnet_0", "bias.bias_table")])
def test_gates_and_position_biases_are_not_decayed(name: str, kind: str) -> None:
    model = create(name)
    named = {parameter: value for parameter, value in model.named_parameters() if parameter.endswith(kind)}
    assert named and model.no_weight_decay() == named.keys()
    groups = create_optimizer_v2(model, opt="adamw", weight_decay=0.05).param_groups
    free = {id(value) for group in groups if group["weight_decay"] == 0 for value in group["params"]}
    assert all(id(value) in free for value in named.values())


def test_an_entrypoint_can_be_imported_by_its_name() -> None:
    assert search_spaces.presets.groupmixformer_tiny is timm.model_entrypoint("groupmixformer_tiny")


def test_pooling_that_doubles_the_vector_is_told() -> None:
    model = create(
        "groupmixformer_mobile", global_pool="catavgmax"
    ).eval()  # timm's head with a norm behind the pooling refuses it
    assert model(images(32)).shape == (1, 1000)
    assert model.forward_head(model.forward_features(images(32)), pre_logits=True).shape == (1, model.head_hidden_size)


@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_an_empty_batch_gives_no_logits(name: str) -> None:
    assert shallow(name).eval()(images(64, 0)).shape == (0, 1000)


@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_any_multiple_of_the_stride_is_an_image(name: str) -> None:
    model = shallow(name).eval()
    with torch.inference_mode():
        for height, width in ((32, 96), (160, 64), (224, 224)):
            logits = model(torch.randn(1, 3, height, width))
            assert logits.shape == (1, 1000) and torch.isfinite(logits).all()


def test_relative_positions_are_those_of_the_map() -> None:
    """The bias of two positions depends on their offset only, and the table of another map size is interpolated."""
    torch.manual_seed(0)
    module = RelativePositionBias(2, 3, 3)
    bias = module(3, 3)[0].detach().numpy().reshape(2, 3, 3, 3, 3)
    table = module.bias_table.detach().numpy()
    for y, x, v, u in np.ndindex(3, 3, 3, 3):
        np.testing.assert_array_equal(bias[:, y, x, v, u], table[:, y - v + 2, x - u + 2])
    assert module(2, 5).shape == (1, 2, 10, 10)
