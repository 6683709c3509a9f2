"""Published weights of CAS-ViT, SHViT and Inception Transformer in our networks."""

import re

import pytest
import timm
import torch

from search_spaces.architecture.costs import costs
from search_spaces.architecture.spec import Architecture
from search_spaces.checkpoints import Weights
from search_spaces.converters import casvit, iformer, shvit
from search_spaces.network.backbone import HybridBackbone
from search_spaces.published.families import PRESETS
from search_spaces.published.networks.casvit import casvit as make_casvit
from search_spaces.published.networks.shvit import shvit as make_shvit
from tests.golden_mixers import DATA, load
from tests.models import images

SHVIT = {"shvit_s1": PRESETS["shvit_s1"].architecture, "shvit_s3": make_shvit((192, 352, 448), (3, 5, 5))}


def ours(name: str) -> HybridBackbone:
    return HybridBackbone(PRESETS[name].architecture.to_spec()).eval()


@pytest.mark.parametrize(
    ("architecture", "published"),
    [
        (make_shvit((128, 308, 448), (2, 4, 5)), 11_483_072),
        (SHVIT["shvit_s3"], 14_245_273),
        (make_shvit((224, 336, 448), (4, 7, 6)), 16_588_484),
        (make_casvit((48, 64, 128, 256), (3, 3, 6, 3)), 5_507_224),
        (make_casvit((64, 96, 192, 384), (3, 3, 6, 3)), 12_036_520),
        (make_casvit((96, 128, 256, 512), (3, 3, 6, 3)), 21_250_120),
    ],
)
def test_other_sizes_have_the_published_parameters(architecture: Architecture, published: int) -> None:
    assert costs(architecture).param_count == published


@pytest.mark.parametrize("size", [64, 224])
@pytest.mark.parametrize("name", SHVIT)
def test_shvit_gives_timms_logits_with_timms_weights(name: str, size: int) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name).eval()
    for key, value in theirs.state_dict().items():
        if re.search(r"(bn|norm)\.(weight|running_var)$", key):
            value.uniform_(0.2, 0.6)
        elif re.search(r"running_mean|bias$", key):
            value.normal_(0, 0.1)
    model = HybridBackbone(SHVIT[name].to_spec()).eval()
    model.load_state_dict(shvit.convert(theirs.state_dict()))
    with torch.inference_mode():
        expected = theirs(images(size, 2))
        torch.testing.assert_close(model(images(size, 2)), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def published_casvit() -> Weights:
    """A state dict with the authors' names: each block of xs has those of the golden block."""
    _, block, _ = load(DATA / "casvit_block_10x12.npz")
    widths = (48, 56, 112, 220)
    weights = {}
    for name, value in ours("casvit_xs").state_dict().items():
        if not name.startswith("stages.") or "downsample" in name:
            name = re.sub(r"^stem\.", "patch_embed.", re.sub(r"^head\.fc\.", "head.", name))
            stage = re.match(r"stages\.(\d)\.downsample\.([01])", name)
            if stage:
                theirs = f"network.{2 * int(stage[1]) - 1}.{('proj', 'norm')[int(stage[2])]}"
                name = name.replace(stage[0], theirs)
            weights[name] = value
    for stage, (width, depth) in enumerate(zip(widths, (2, 2, 4, 2), strict=True)):
        for number in range(depth):
            for name, value in block.items():
                shape = [width * size // 32 if size % 32 == 0 else size for size in value.shape]
                weights[f"network.{2 * stage}.{number}.{name}"] = torch.randn(shape).to(value.dtype)
    return weights


def test_every_weight_of_casvit_has_its_place() -> None:
    published = published_casvit()
    model = ours("casvit_xs")
    model.load_state_dict(casvit.convert({"model": published}))
    second = {"dist_head.weight": torch.randn(1000, 220), "dist_head.bias": torch.randn(1000)}
    mean = casvit.convert(published | second)["head.fc.bias"]
    torch.testing.assert_close(mean, (published["head.bias"] + second["dist_head.bias"]) / 2)


def test_every_weight_of_iformer_has_its_place() -> None:
    model = ours("iformer_small")
    back = (
        (r"^stem\.([01])\.", lambda match: f"patch_embed.{('proj1', 'norm1')[int(match[1])]}."),
        (r"^stem\.([34])\.", lambda match: f"patch_embed.{('proj2', 'norm2')[int(match[1]) - 3]}."),
        (r"^stages\.3\.norm\.", "norm."),
        (r"^head\.fc\.", "head."),
        (r"^stages\.(\d)\.position\.table", lambda match: f"pos_embed{int(match[1]) + 1}"),
        (
            r"^stages\.(\d)\.downsample\.([01])",
            lambda match: f"patch_embed{int(match[1]) + 1}.{('proj', 'norm')[int(match[2])]}",
        ),
        (r"^stages\.(\d)\.blocks", lambda match: f"blocks{int(match[1]) + 1}"),
        (r"\.scale([12])\.gamma", r".layer_scale_\1"),
        (r"\.ffn\.", ".mlp."),
        (r"\.mixer\.high\.expand", ".attn.high_mixer.conv1"),
        (r"\.mixer\.high\.conv", ".attn.high_mixer.proj1"),
        (r"\.mixer\.high\.proj", ".attn.high_mixer.proj2"),
        (r"\.mixer\.low", ".attn.low_mixer"),
        (r"\.mixer\.fuse", ".attn.conv_fuse"),
        (r"\.mixer\.proj", ".attn.proj"),
    )
    published = {}
    for name, value in model.state_dict().items():
        for pattern, new in back:
            name = re.sub(pattern, new, name)
        published[name] = value.permute(0, 2, 3, 1) if name.startswith("pos_embed") else value
    converted = iformer.convert(published)
    assert {name: tuple(value.shape) for name, value in converted.items()} == {
        name: tuple(value.shape) for name, value in model.state_dict().items()
    }
    assert all(torch.equal(converted[name], value) for name, value in model.state_dict().items())
