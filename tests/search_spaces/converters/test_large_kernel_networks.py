"""VAN and HorNet: the authors' names, renamed, give the logits of the plain networks."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from nas.errors import InvalidInputError
from search_spaces.architecture.spec import Architecture
from search_spaces.build import build_model
from search_spaces.converters import hornet, van
from search_spaces.published.families import PRESETS
from search_spaces.published.networks.hornet import hornet as hornet_of
from search_spaces.published.networks.van import van as van_of
from tests.models import randomise
from tests.plain_large_kernels import PlainHorNet, PlainVan

DEPTHS = (1, 2, 1, 1)
Case = tuple[type[nn.Module], Callable[..., Architecture], Callable[[Mapping[str, Any]], dict[str, torch.Tensor]], Any]
CASES: dict[str, Case] = {
    "van": (PlainVan, van_of, van.convert, (8, 16, 24, 32)),
    "hornet": (PlainHorNet, hornet_of, hornet.convert, (8, 16, 32, 64)),
}


@pytest.mark.parametrize("name", CASES)
def test_published_weights_give_the_logits_of_the_plain_network(name: str) -> None:
    plain_class, build, convert, widths = CASES[name]
    plain = randomise(plain_class(widths, DEPTHS))
    ours = build_model(replace(build(widths, DEPTHS), num_classes=10)).eval()
    ours.load_state_dict(convert(plain.state_dict()))
    images = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = plain(images)
        torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("name", "plain_class"), [("van_b0", PlainVan), ("hornet_tiny", PlainHorNet)])
def test_the_plain_network_has_the_published_parameters(name: str, plain_class: type[nn.Module]) -> None:
    preset = PRESETS[name]
    stages = preset.architecture.stages
    with torch.device("meta"):
        plain = plain_class([stage.width for stage in stages], [len(stage.blocks) for stage in stages])
    classes = (1000 - 10) * (stages[-1].width + 1)
    assert sum(parameter.numel() for parameter in plain.parameters()) + classes == preset.published_params


@pytest.mark.parametrize("name", CASES)
def test_an_entry_of_another_network_is_named(name: str) -> None:
    _, _, convert, _ = CASES[name]
    with pytest.raises(InvalidInputError, match="1 entries that its network does not have: dist_token"):
        convert({"dist_token": torch.zeros(3)})
