"""Published weights: renamed completely, refused where anything is missing, and the same numbers as the original."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from nas.errors import InvalidInputError
from search_spaces.build import build_model
from search_spaces.checkpoints import convert_convnext, convert_groupmixformer
from search_spaces.published.families import PRESETS, groupmixformer
from tests.models import create
from tests.plain_groupmixformer import PlainGroupMixFormer

DATA = Path(__file__).parent / "data"
SIZES = (40, 80, 40, 120), (1, 2, 1, 1), (4, 2, 3, 4)


def randomised(model: nn.Module) -> nn.Module:
    """Weights and statistics that leave no term at zero, small enough for deep networks."""
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = parameter.data + 0.1 * noise if parameter.dim() < 2 else parameter.data + 0.02 * noise
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point():
            noise = torch.rand(buffer.shape, generator=generator)
            buffer.copy_(0.5 + noise if name.endswith("var") else 0.2 * noise - 0.1)
    return model.eval()


def published_tiny() -> dict[str, torch.Tensor]:
    """A state_dict with the published names and shapes of GroupMixFormer-T and random values."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for line in (DATA / "state_dict_tiny.tsv").read_text().splitlines()[1:]:
        name, shape, _, _ = line.split("\t")
        size = [int(number) for number in re.findall(r"\d+", shape)]
        weights[name] = torch.rand(size, generator=generator) if size else torch.tensor(7)
    return weights


def small() -> tuple[nn.Module, nn.Module]:
    """The plain network and ours, of the same sizes."""
    torch.manual_seed(0)
    return randomised(PlainGroupMixFormer(*SIZES, 1000)), build_model(groupmixformer(*SIZES)).eval()


def test_published_tiny_fills_every_parameter_of_the_preset() -> None:
    published = published_tiny()
    model = create("groupmixformer_tiny")
    model.load_state_dict(convert_groupmixformer(published), strict=True)
    values = [value.flatten() for value in published.values() if value.dim()]
    ours = [value.flatten() for value in model.state_dict().values() if value.dim()]
    torch.testing.assert_close(torch.cat(ours).sort().values, torch.cat(values).sort().values)
    for name in published:
        with pytest.raises(InvalidInputError):
            convert_groupmixformer({key: value for key, value in published.items() if key != name})
        if name.startswith("groupmixformer_backbone.0.gma_stage.1"):
            break  # one whole block, stem and embeddings are enough


@pytest.mark.parametrize("size", ["tiny", "mobile", "large"])
def test_the_plain_network_has_the_published_parameters(size: str) -> None:
    stages = PRESETS[f"groupmixformer_{size}"].architecture.stages
    sizes = zip(*((stage.width, len(stage.blocks), stage.blocks[0].ffn_ratio) for stage in stages), strict=True)
    with torch.device("meta"):
        plain = PlainGroupMixFormer(*(tuple(numbers) for numbers in sizes), 1000)
    assert (
        sum(parameter.numel() for parameter in plain.parameters()) == PRESETS[f"groupmixformer_{size}"].published_params
    )
    if size == "tiny":
        assert plain.state_dict().keys() == published_tiny().keys()


@pytest.mark.parametrize("wrap", ["bare", "model", "state_dict", "parallel"])
def test_converted_weights_give_the_logits_of_the_original(wrap: str) -> None:
    plain, ours = small()
    weights = plain.state_dict()
    published = {
        "bare": weights,
        "model": {"model": weights, "epoch": 298},
        "state_dict": {"state_dict": weights, "optimizer": None},
        "parallel": {f"module.{name}": value for name, value in weights.items()},
    }[wrap]
    ours.load_state_dict(convert_groupmixformer(published), strict=True)
    images = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = plain(images)
        torch.testing.assert_close(ours(images), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_converted_weights_train_like_the_original() -> None:
    """Batch statistics over Q, K and V together, and the gradients of a step."""
    plain, ours = small()
    ours.load_state_dict(convert_groupmixformer(plain.state_dict()))
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for model in (plain.train(), ours.train()):
        model(images).square().sum().backward()
    after = convert_groupmixformer(plain.state_dict())
    for name, value in ours.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, after[name], rtol=1e-3, atol=1e-4, msg=name)
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    statistics = {name: value for name, value in plain.state_dict().items() if name not in gradients}
    expected = convert_groupmixformer({**gradients, **statistics})
    # A bias before BatchNorm has a gradient of zero and rounding, so the scale is that of the whole network.
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-3, atol=1e-4 * largest, msg=name)


def without(name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in published_tiny().items() if key != name}


BLOCK = "groupmixformer_backbone.2.gma_stage.11"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {**published_tiny(), "dist_token": torch.zeros(3)},
            r"has 1 entries that its network does not have: dist_token; give the published file",
        ),
        (
            without(f"{BLOCK}.norm1.bias"),
            r"not a GroupMixFormer of this size: missing stages\.2\.blocks\.11\.norm1\.bias \(200,\)",
        ),
        (
            without(f"{BLOCK}.att.aggregator.norm3.weight"),
            r"11\.att\.aggregator\.norm0 to norm3\.weight with the shapes .*None\]",
        ),
        (without(f"{BLOCK}.att.aggregator.norm2.num_batches_tracked"), r"norm0 to norm3\.num_batches_tracked .*None"),
        (
            {**published_tiny(), f"{BLOCK}.att.aggregator.norm7.weight": torch.zeros(0)},
            r"entries that its network does not have: .*norm7",
        ),
        (
            {**published_tiny(), f"{BLOCK}.att.aggregator.norm0.num_batches_tracked": torch.zeros(3)},
            r"norm3\.num_batches_tracked with",
        ),
        (
            {**published_tiny(), f"{BLOCK}.att.qkv.weight": torch.tensor(1.0)},
            r"qkv\.weight is \(\) instead of \(600, 200\)",
        ),
        (
            {**published_tiny(), "conv_stem.proj1.weight": torch.zeros(3)},
            r"no tensor conv_stem\.proj1\.weight of 4 or more axes",
        ),
        ({3: torch.zeros(3)}, r"has no tensors under \['3'\]"),
        (
            {**published_tiny(), f"{BLOCK}.mlp.fc2.bias": torch.zeros(3)},
            r"ffn\.fc2\.bias is \(3,\) instead of \(200,\)",
        ),
        ({**published_tiny(), f"{BLOCK}.att.qkv.bias": torch.zeros(7)}, r"qkv\.bias is \(7,\) instead of \(600,\)"),
        (without("head.weight"), r"the checkpoint has no tensor head\.weight"),
        (
            {"model": {"epoch": 3}},
            r"has no tensors under \['epoch'\]; expected a state_dict, bare or under 'model' or 'state_dict'",
        ),
        ({}, r"has no tensors under any name"),
        ({"weight": torch.zeros(3)}, r"has 0 stages named groupmixformer_backbone\.N; expected the 4"),
    ],
)
def test_anything_but_the_published_entries_is_refused_with_what_is_wrong(
    weights: dict[str, torch.Tensor], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        convert_groupmixformer(weights)


def test_convnext_of_timm_is_converted_strictly() -> None:
    published = create("convnext_tiny", num_classes=5).state_dict()
    model = create("hybrid_convnext_tiny", num_classes=5)
    model.load_state_dict(convert_convnext(published), strict=True)
    del published["stages.2.blocks.8.gamma"]
    with pytest.raises(
        InvalidInputError, match=r"not a ConvNeXt of this size: missing stages\.2\.blocks\.8\.mixer\.gamma \(384,\)"
    ):
        convert_convnext(published)
