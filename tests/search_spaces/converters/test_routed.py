"""Every entry of a published BiFormer, GLNet and L2ViT, by the names of its authors, fills its place in our presets."""

import re

import pytest
import torch

from nas.errors import InvalidInputError
from search_spaces.checkpoints import Weights, require_match
from search_spaces.converters import biformer, glnet, l2vit
from search_spaces.network.backbone import HybridBackbone
from search_spaces.published.families import PRESETS

ENDS = (
    (r"^stem\.", "downsample_layers.0."),
    (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
    (r"^head\.fc\.", "head."),
)
BIFORMER = (
    *ENDS,
    (r"^(stages\.3)\.blocks\.(\d+)\.mixer\.(qkv|proj)\.", r"\1.\2.attn.\3."),
    (r"^(stages\.\d)\.blocks\.(\d+)\.mixer\.qkv\.", r"\1.\2.attn.qkv.qkv."),
    (r"^(stages\.\d)\.blocks\.(\d+)\.mixer\.proj\.", r"\1.\2.attn.wo."),
    (r"^(stages\.\d)\.blocks\.(\d+)\.mixer\.local\.", r"\1.\2.attn.lepe."),
    (r"^(stages\.\d)\.blocks\.(\d+)\.position\.conv\.", r"\1.\2.pos_embed."),
    (r"^(stages\.\d)\.blocks\.(\d+)\.ffn\.fc1\.", r"\1.\2.mlp.0."),
    (r"^(stages\.\d)\.blocks\.(\d+)\.ffn\.fc2\.", r"\1.\2.mlp.3."),
    (r"^(stages\.\d)\.blocks\.", r"\1."),
)
GLNET = (
    *ENDS,
    (r"\.position\.conv\.(\w+)$", r".pos_conv.\1"),
    (r"\.mixer\.scale$", ".slot_scale"),
    (r"\.mixer\.attend\.qkv\.", ".relation_mha.in_proj_"),
    (r"\.mixer\.attend\.proj\.", ".relation_mha.out_proj."),
    (r"\.mixer\.qkv\.", ".mha_op.in_proj_"),
    (r"\.mixer\.proj_in\.", ".feature_conv.0."),
    (r"\.mixer\.conv\.", ".feature_conv.1."),
    (r"\.ffn\.fc1\.", ".mlp.0."),
    (r"\.ffn\.pos_conv\.", ".mlp.1."),
    (r"\.ffn\.fc2\.", ".mlp.3."),
)

L2VIT = (
    (r"^stem\.5\.", "downsample_layers.0.norm."),
    (r"^stem\.", "downsample_layers.0.proj."),
    (r"^stages\.(\d)\.downsample\.0\.", r"downsample_layers.\1.norm."),
    (r"^stages\.(\d)\.downsample\.1\.", r"downsample_layers.\1.proj."),
    (r"^stages\.3\.norm\.", "norm."),
    (r"^head\.fc\.", "head."),
    (r"^stages\.(\d)\.blocks\.(\d*[13579])\.norm1\.", r"stages.\1.blocks.\2.norm3."),
    (r"^stages\.(\d)\.blocks\.(\d*[13579])\.position\.conv\.", r"stages.\1.blocks.\2.cpe.1.proj."),
    (r"\.position\.conv\.", ".cpe.0.proj."),
    (r"\.mixer\.norm\.", ".local_mp.bn."),
    (r"\.mixer\.conv", ".local_mp.conv"),
    (r"\.mixer\.", ".attn."),
    (r"\.ffn\.", ".mlp."),
)


def published(name: str, rows: tuple[tuple[str, str], ...]) -> Weights:
    """The entries of a preset by their published names."""
    with torch.device("meta"):
        ours = HybridBackbone(PRESETS[name].architecture.to_spec()).state_dict()
    theirs = {}
    for key, value in ours.items():
        for pattern, new in rows:
            key = re.sub(pattern, new, key)
        theirs[key] = value
    return theirs


def published_glnet() -> Weights:
    """With its projections as 1x1 convolutions; those behind `mixer.proj` are of two kinds."""
    theirs = {}
    clusters = {name.split("slot_scale")[0] for name in published("glnet_4g", GLNET) if "slot_scale" in name}
    for name, value in published("glnet_4g", GLNET).items():
        block = ".".join(name.split(".")[:4]) + "."
        name = name.replace("mixer.proj.", "feature_conv.2." if block in clusters else "mha_op.out_proj.")
        is_conv = re.search(r"(feature_conv\.[02]|mlp\.[03])\.weight", name)
        theirs[name] = value[:, :, None, None] if is_conv else value
    return theirs


def test_a_published_biformer_fills_the_preset() -> None:
    theirs = published("biformer_tiny", BIFORMER)
    expected = {
        "downsample_layers.0.3.weight",
        "downsample_layers.1.1.running_mean",
        "stages.2.7.attn.qkv.qkv.weight",
        "stages.2.7.attn.wo.bias",
        "stages.3.1.attn.qkv.weight",
        "stages.3.1.attn.lepe.weight",
        "stages.0.0.mlp.3.weight",
        "stages.0.0.pos_embed.bias",
    }
    assert expected <= theirs.keys() and "stages.3.1.attn.qkv.bias" not in theirs
    require_match(biformer.convert(theirs), PRESETS["biformer_tiny"].architecture, "BiFormer")


def test_a_published_glnet_fills_the_preset() -> None:
    theirs = published_glnet()
    expected = {
        "stages.2.blocks.16.relation_mha.in_proj_bias",
        "stages.2.blocks.17.mha_op.in_proj_weight",
        "stages.2.blocks.17.mha_op.out_proj.weight",
        "stages.2.blocks.16.feature_conv.2.weight",
        "stages.3.blocks.0.mlp.1.weight",
        "stages.0.blocks.0.slot_scale",
        "stages.0.blocks.0.pos_conv.weight",
    }
    assert expected <= theirs.keys()
    require_match(glnet.convert({"model": theirs}), PRESETS["glnet_4g"].architecture, "GLNet")


def test_a_published_l2vit_fills_the_preset() -> None:
    theirs = {}
    for name, value in published("l2vit_tiny", L2VIT).items():
        stage, number, rest = re.fullmatch(r"(?:stages\.(\d)\.blocks\.(\d+)\.)?(.*)", name).groups()
        theirs[f"stages.{stage}.{int(number) // 2}.{rest}" if stage else name] = value
    expected = {
        "downsample_layers.2.proj.weight",
        "stages.2.4.cpe.1.proj.bias",
        "stages.2.5.attn.temperature",
        "stages.2.5.local_mp.bn.running_var",
        "stages.2.5.norm3.weight",
        "stages.2.5.mlp.fc2.weight",
        "stages.0.0.attn.qkv.bias",
    }
    assert expected <= theirs.keys()
    require_match(l2vit.convert(theirs), PRESETS["l2vit_tiny"].architecture, "L2ViT")


@pytest.mark.parametrize("name", ["stages.0.0.attn.strange", "stages.0.blocks.0.pos_embed.weight", "stem.0.weight"])
def test_strange_entries_are_refused(name: str) -> None:
    for convert in (biformer.convert, glnet.convert, l2vit.convert):
        with pytest.raises(InvalidInputError, match="entries that its network does not have"):
            convert({name: torch.zeros(1)})
