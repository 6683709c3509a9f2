"""timm's MaxViT through ours."""

from typing import Any

import pytest
import timm
import torch

from nas.errors import InvalidInputError
from search_spaces.build import build_model
from search_spaces.checkpoints import require_match
from search_spaces.converters.maxvit import convert
from search_spaces.published.families import PRESETS
from search_spaces.published.networks.maxvit import maxvit
from tests.models import images

WIDTHS = (32, 64, 64, 96)
DEPTHS = (1, 2, 2, 1)


def test_maxvit_gives_timms_logits_with_timms_weights() -> None:
    """A narrow one; its maps hold several windows, and one."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"embed_dim": WIDTHS, "depths": DEPTHS, "stem_width": 16, "head_hidden_size": WIDTHS[-1]}
    theirs = timm.create_model("maxvit_tiny_tf_224", **sizes).eval()
    for name, parameter in theirs.named_parameters():
        scale = 0.1 if parameter.dim() < 2 or name.endswith("table") else 0.01
        parameter.data = parameter + scale * torch.randn_like(parameter)
    for name, buffer in theirs.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(0.5 + torch.rand_like(buffer) if name.endswith("var") else 0.2 * torch.rand_like(buffer))
    ours = build_model(maxvit(16, WIDTHS, DEPTHS)).eval()
    ours.load_state_dict(convert(theirs.state_dict()))
    with torch.inference_mode():
        expected = theirs(images(224))
        torch.testing.assert_close(ours(images(224)), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_checkpoint_of_timms_fills_the_preset_and_anything_else_is_refused() -> None:
    with torch.device("meta"):
        published = timm.create_model("maxvit_tiny_tf_224").state_dict()
    require_match(convert(published), PRESETS["maxvit_tiny"].architecture, "MaxViT")
    with pytest.raises(InvalidInputError, match=r"entries that its network does not have: gamma"):
        convert({**published, "stages.2.blocks.1.attn_grid.gamma": published["head.fc.bias"]})
