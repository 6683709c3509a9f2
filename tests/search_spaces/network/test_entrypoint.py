"""What timm's create_model may ask of our networks, beyond what every network does."""

import re
from typing import Any

import pytest
import torch

from search_spaces.network.backbone import HybridBackbone
from search_spaces.network.entrypoint import ADAPTED_LAYERS, build_hybrid_backbone
from tests.zoo_entries import architecture, trained


def build(in_chans: int = 3, **arguments: Any) -> HybridBackbone:
    """An untrained network for images of `in_chans` channels."""
    spec = architecture(1, in_chans).to_spec()
    return build_hybrid_backbone("some_name", False, spec=spec, pretrained_cfg={}, **arguments)


def with_weights_of(in_chans: int, wanted: int) -> tuple[HybridBackbone, HybridBackbone]:
    """A network for `in_chans` channels, and one for `wanted` with its weights."""
    network = trained(architecture(1, in_chans))
    config = {
        "state_dict": dict(network.state_dict()),
        "num_classes": 10,
        "input_size": (in_chans, 32, 32),
        **ADAPTED_LAYERS,
    }
    spec = architecture(1, in_chans).to_spec()
    return network, build_hybrid_backbone("some_name", True, spec=spec, in_chans=wanted, pretrained_cfg=config).eval()


@pytest.mark.parametrize(("given", "wanted"), [(1, 3), (1, 5), (3, 1), (3, 6), (3, 3), (2, 4)])
def test_weights_for_other_channels_answer_alike_for_grey_images(given: int, wanted: int) -> None:
    network, adapted = with_weights_of(given, wanted)
    grey = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        expected = network(grey.expand(2, given, 32, 32))
        torch.testing.assert_close(adapted(grey.expand(2, wanted, 32, 32)), expected, rtol=1e-4, atol=1e-4)
    assert adapted.state_dict()["stem.0.weight"].shape[1] == wanted


@pytest.mark.parametrize("size", [64, (32, 64), [64, 32]])
def test_sizes_that_fit_are_taken(size: Any) -> None:
    assert build(img_size=size, output_stride=16).feature_info[-1]["reduction"] == 16


@pytest.mark.parametrize("size", [0, 33, (32, 40), 8])
def test_a_size_between_two_strides_is_refused(size: Any) -> None:
    expected = (
        f"img_size {size} was given; expected sides that are multiples of 16, which is the stride of this network"
    )
    with pytest.raises(ValueError, match=re.escape(expected)):
        build(img_size=size)


@pytest.mark.parametrize("features_only", [False, True])
def test_another_output_stride_is_refused(features_only: bool) -> None:
    with pytest.raises(ValueError, match="output_stride 8 was given; this network has 16 and no other: leave it out"):
        build(output_stride=8, features_only=features_only)


def test_parameters_are_kept_where_and_how_it_is_asked() -> None:
    model = build(device="meta", dtype=torch.bfloat16)
    assert {(parameter.device.type, parameter.dtype) for parameter in model.parameters()} == {("meta", torch.bfloat16)}


def test_without_a_spec_there_is_no_network() -> None:
    with pytest.raises(ValueError, match=r"some_name was asked for without a spec .* name the folder of a zoo entry"):
        build_hybrid_backbone("some_name", False)


def test_pooling_that_the_norm_cannot_take_is_refused() -> None:
    with pytest.raises(ValueError, match=r"global_pool 'catavgmax' gives \d+ channels, .* give avg, max, avgmax or ''"):
        build(global_pool="catavgmax")


def test_without_pooling_the_classifier_reads_every_position() -> None:
    network = trained(architecture(1))
    logits = network(torch.rand(2, 1, 32, 32))
    network.reset_classifier(10, "")
    assert logits.shape == (2, 10) and network(torch.rand(2, 1, 64, 32)).shape == (2, 10, 4, 2)
