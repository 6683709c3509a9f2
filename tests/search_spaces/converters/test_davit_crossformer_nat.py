"""DaViT against timm's, and the published names of CrossFormer and NAT."""

import re

import pytest
import torch

from nas.errors import InvalidInputError
from search_spaces.checkpoints import Weights, require_match
from search_spaces.converters import crossformer, davit, nat
from search_spaces.published.families import PRESETS
from tests.models import create, images
from tests.search_spaces.test_checkpoints import randomised

PUBLISHED_NAMES = {
    "crossformer_tiny": (
        (r"stem\.convs\.", "patch_embed.projs."),
        (r"stem\.norm", "patch_embed.norm"),
        (r"stages\.(\d)\.blocks\.(\d+)\.mixer\.bias\.proj", r"layers.\1.blocks.\2.attn.pos.pos_proj"),
        (r"stages\.(\d)\.blocks\.(\d+)\.mixer\.bias\.layers\.0", r"layers.\1.blocks.\2.attn.pos.pos1"),
        (r"stages\.(\d)\.blocks\.(\d+)\.mixer\.bias\.layers\.1", r"layers.\1.blocks.\2.attn.pos.pos2"),
        (r"stages\.(\d)\.blocks\.(\d+)\.mixer\.bias\.layers\.2", r"layers.\1.blocks.\2.attn.pos.pos3"),
        (r"stages\.(\d)\.blocks\.(\d+)\.mixer", r"layers.\1.blocks.\2.attn"),
        (r"stages\.(\d)\.blocks\.(\d+)\.ffn", r"layers.\1.blocks.\2.mlp"),
        (r"stages\.(\d)\.blocks", r"layers.\1.blocks"),
        (r"stages\.1\.downsample\.convs", "layers.0.downsample.reductions"),
        (r"stages\.2\.downsample\.convs", "layers.1.downsample.reductions"),
        (r"stages\.3\.downsample\.convs", "layers.2.downsample.reductions"),
        (r"stages\.1\.downsample\.norm", "layers.0.downsample.norm"),
        (r"stages\.2\.downsample\.norm", "layers.1.downsample.norm"),
        (r"stages\.3\.downsample\.norm", "layers.2.downsample.norm"),
        (r"stages\.3\.norm", "norm"),
        (r"head\.fc", "head"),
    ),
    "nat_mini": (
        (r"stem\.convs", "patch_embed.proj"),
        (r"stem\.norm", "patch_embed.norm"),
        (r"stages\.(\d)\.blocks\.(\d+)\.mixer\.bias_table", r"levels.\1.blocks.\2.attn.rpb"),
        (r"stages\.(\d)\.blocks\.(\d+)\.mixer", r"levels.\1.blocks.\2.attn"),
        (r"stages\.(\d)\.blocks\.(\d+)\.ffn", r"levels.\1.blocks.\2.mlp"),
        (r"stages\.(\d)\.blocks", r"levels.\1.blocks"),
        (r"stages\.1\.downsample\.0", "levels.0.downsample.reduction"),
        (r"stages\.2\.downsample\.0", "levels.1.downsample.reduction"),
        (r"stages\.3\.downsample\.0", "levels.2.downsample.reduction"),
        (r"stages\.1\.downsample\.1", "levels.0.downsample.norm"),
        (r"stages\.2\.downsample\.1", "levels.1.downsample.norm"),
        (r"stages\.3\.downsample\.1", "levels.2.downsample.norm"),
        (r"stages\.3\.norm", "norm"),
        (r"head\.fc", "head"),
    ),
}
"""Beginning of our name -> of the authors'."""


def published(preset: str) -> Weights:
    """Weights of seed 0 under the authors' names."""
    weights = {}
    for name, value in create(preset).state_dict().items():
        rows = ((pattern, theirs) for pattern, theirs in PUBLISHED_NAMES[preset] if re.match(pattern, name))
        pattern, theirs = next(rows)
        weights[re.sub(f"^{pattern}", theirs, name)] = value
    return weights


def test_davit_gives_the_logits_of_timms() -> None:
    theirs = randomised(create("davit_tiny"))
    ours = create("hybrid_davit_tiny").eval()
    ours.load_state_dict(davit.convert(theirs.state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(ours(images(96, 2)), theirs(images(96, 2)), rtol=0, atol=1e-4)


def test_every_weight_of_davit_is_used_and_filled() -> None:
    weights = create("davit_tiny").state_dict()
    require_match(davit.convert(weights), PRESETS["davit_tiny"].architecture, "DaViT")
    with pytest.raises(InvalidInputError, match=r"entries that its network does not have: stages\.0\.surplus"):
        davit.convert({**weights, "stages.0.surplus": torch.zeros(1)})


def test_every_weight_of_nat_is_used_and_filled() -> None:
    weights = published("nat_mini")
    assert "levels.0.blocks.0.attn.rpb" in weights
    require_match(nat.convert({"model": weights}), PRESETS["nat_mini"].architecture, "NAT")


def test_crossformers_offsets_are_left_out_and_every_weight_is_used() -> None:
    """Its checkpoints hold numbers of offsets too, which follow from the sizes."""
    weights = published("crossformer_tiny")
    weights["layers.0.blocks.0.attn.biases"] = torch.zeros(169, 2)
    weights["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49)
    assert "layers.3.blocks.5.attn.pos.pos3.2.weight" in weights
    require_match(crossformer.convert(weights), PRESETS["crossformer_tiny"].architecture, "CrossFormer")
