"""timm's CoAtNet through ours."""

from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from nas.errors import InvalidInputError
from search_spaces.build import build_model
from search_spaces.checkpoints import require_match
from search_spaces.converters.coatnet import convert
from search_spaces.published.families import PRESETS
from tests.models import images

SIZE = 64


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """timm's network with statistics that are not those of a new one, and tables that matter."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model("coatnet_0_224", img_size=SIZE)
    for name, parameter in model.named_parameters():
        scale = 0.1 if parameter.dim() < 2 or name.endswith("table") else 0.01
        parameter.data = parameter + scale * torch.randn_like(parameter)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(0.5 + torch.rand_like(buffer) if name.endswith("var") else 0.2 * torch.rand_like(buffer))
    return model.eval()


def test_coatnet_gives_timms_logits_with_timms_weights(theirs: nn.Module) -> None:
    ours = build_model(replace(PRESETS["coatnet_0"].architecture, image_size=SIZE)).eval()
    ours.load_state_dict(convert(theirs.state_dict()))
    with torch.inference_mode():
        expected = theirs(images(SIZE, 2))
        torch.testing.assert_close(ours(images(SIZE, 2)), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_anything_else_is_refused(theirs: nn.Module) -> None:
    published = theirs.state_dict()
    architecture = replace(PRESETS["coatnet_0"].architecture, image_size=SIZE)
    with pytest.raises(InvalidInputError, match=r"entries that its network does not have: gamma"):
        convert({**published, "stages.2.blocks.1.gamma": torch.zeros(3)})
    del published["stages.2.blocks.1.attn.rel_pos.relative_position_bias_table"]
    with pytest.raises(InvalidInputError, match=r"missing stages\.2\.blocks\.1\.mixer\.bias\.bias_table \(12, 7, 7\)"):
        require_match(convert(published), architecture, "CoAtNet")
