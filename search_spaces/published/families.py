"""Published networks as architectures, at 224 pixels and 1000 classes. Imports no torch.

`docs/reference/space.md` says of each what is the same as in its source and what differs. `presets.py` registers them
with timm.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules

from nas.errors import InvalidInputError
from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.spec import Architecture
from search_spaces.published import networks
from search_spaces.published.preset import Preset, network


def groupmixformer(widths: Sequence[int], depths: Sequence[int], ratios: Sequence[int]) -> Architecture:
    """Group-mix attention in every block, 8 heads, kernels 1, 3, 5, 7 and the branch that is not attended."""
    stages = []
    for index, (width, depth, ratio) in enumerate(zip(widths, depths, ratios, strict=True)):
        block = BlockSpec(
            "attention",
            attention="group_mix",
            heads=8,
            head_dim=width // 10,
            group_sizes=(1, 3, 5, 7),
            conv_branch=True,
            position="cpe",
            ffn="mlp",
            ffn_ratio=ratio,
        )
        stages.append(StageSpec(width, "separable", 1 if index == 0 else 2, (block,) * depth))
    return network(StemSpec("conv", widths[0], "batch"), stages, "batch")


def linglo(widths: Sequence[int], depths: Sequence[int], grafted: bool = False) -> Architecture:
    """A 1x1, 3x3 depthwise, 1x1 convolution, key-only attention and a feed-forward in every block, in PVTv2's frame.

    grafted: convolution in the first two stages only, attention in the last two only. What each block loses is given
    back as width of the convolution (first two stages) and of the feed-forward (last two), so that the parameters stay
    the same within half a percent.
    """
    stages = []
    for index, (width, depth, heads, ratio) in enumerate(zip(widths, depths, (1, 2, 5, 8), (8, 8, 4, 4), strict=True)):
        if not grafted:
            block = _key_only_block("fused_serial", width, heads, ratio, conv="mbconv", kernel=3, conv_ratio=1)
        elif index < 2:
            block = BlockSpec("conv", conv="mbconv", kernel=3, conv_ratio=2, ffn="mlp_dw", ffn_ratio=ratio)
        else:
            block = _key_only_block("attention", width, heads, ratio + 1)
        stages.append(StageSpec(width, "none" if index == 0 else "overlap", 1 if index == 0 else 2, (block,) * depth))
    return network(StemSpec("overlap", widths[0], "layer"), stages, "layer")


def _key_only_block(
    kind: str, width: int, heads: int, ratio: int, conv: str = "", kernel: int = 0, conv_ratio: int = 0
) -> BlockSpec:
    return BlockSpec(
        kind,
        conv=conv,
        kernel=kernel,
        conv_ratio=conv_ratio,
        attention="key_only",
        heads=heads,
        head_dim=width // heads,
        ffn="mlp_dw",
        ffn_ratio=ratio,
        options=(("gate", "channel"),),
    )


def convnext(widths: Sequence[int], depths: Sequence[int]) -> Architecture:
    """7x7 depthwise convolution blocks with layer scale."""
    block = BlockSpec("conv", conv="dwconv", kernel=7, conv_ratio=4, layer_scale=1e-6)
    stages = [
        StageSpec(width, "none" if index == 0 else "patchify", 1 if index == 0 else 2, (block,) * depth)
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True))
    ]
    return network(StemSpec("patchify", widths[0], "layer"), stages, "layer")


MBCONV = BlockSpec("conv", conv="mbconv", kernel=3, conv_ratio=4, se_ratio=0.25)


def _full_block(width: int) -> BlockSpec:
    """Full attention with relative positions and heads of 32 channels, then a feed-forward."""
    return BlockSpec(
        "attention",
        attention="full",
        heads=width // 32,
        head_dim=32,
        position="relative",
        ffn="mlp",
        ffn_ratio=4,
    )


def ascan(stem_width: int, widths: Sequence[int], convs: Sequence[int], attentions: Sequence[int]) -> Architecture:
    """Convolution blocks, the first of which changes width and stride, then attention blocks in each stage; the share
    of attention grows with depth."""
    stages = [
        StageSpec(width, "mbconv", 1 if index == 0 else 2, (MBCONV,) * (count - 1) + (_full_block(width),) * attended)
        for index, (width, count, attended) in enumerate(zip(widths, convs, attentions, strict=True))
    ]
    return network(StemSpec("conv", stem_width, "batch"), stages, "layer")


_GROUPMIXFORMER = "GroupMixFormer (arXiv 2311.15157) and its released code"
_LINGLO = "LinGlo (arXiv 2207.00188), reconstructed"
_GRAFTED = "grafted twin of LinGlo, the layout that LinGlo (arXiv 2207.00188) argues against"
_CONVNEXT = "ConvNeXt (arXiv 2201.03545) as in timm"

_OURS: Mapping[str, Preset] = {
    "groupmixformer_mobile": Preset(
        groupmixformer((40, 80, 160, 160), (3, 3, 12, 4), (4, 4, 4, 4)), _GROUPMIXFORMER, 5_733_120, 0.0
    ),
    "groupmixformer_tiny": Preset(
        groupmixformer((80, 160, 200, 240), (4, 4, 12, 4), (4, 4, 4, 4)), _GROUPMIXFORMER, 10_949_152, 0.0
    ),
    "groupmixformer_small": Preset(
        groupmixformer((80, 160, 320, 320), (2, 4, 12, 4), (4, 4, 4, 4)), _GROUPMIXFORMER, 22_421_320, 0.0
    ),
    "groupmixformer_base": Preset(
        groupmixformer((200, 240, 320, 480), (8, 8, 12, 8), (2, 2, 4, 4)), _GROUPMIXFORMER, 45_827_272, 0.0
    ),
    "groupmixformer_large": Preset(
        groupmixformer((240, 320, 360, 480), (8, 10, 30, 10), (4, 4, 2, 2)), _GROUPMIXFORMER, 71_833_648, 0.0
    ),
    "linglo_b0": Preset(linglo((32, 64, 160, 256), (2, 2, 2, 2)), _LINGLO, 3_400_000, 0.02),
    "linglo_b1": Preset(linglo((64, 128, 320, 512), (2, 2, 2, 2)), _LINGLO, 13_100_000, 0.02),
    "linglo_b2": Preset(linglo((64, 128, 320, 512), (3, 4, 8, 3)), _LINGLO, 25_400_000, 0.02),
    "linglo_b0_grafted": Preset(linglo((32, 64, 160, 256), (2, 2, 2, 2), grafted=True), _GRAFTED, 3_400_000, 0.02),
    "linglo_b1_grafted": Preset(linglo((64, 128, 320, 512), (2, 2, 2, 2), grafted=True), _GRAFTED, 13_100_000, 0.02),
    "linglo_b2_grafted": Preset(linglo((64, 128, 320, 512), (3, 4, 8, 3), grafted=True), _GRAFTED, 25_400_000, 0.02),
    "convnext_tiny": Preset(convnext((96, 192, 384, 768), (3, 3, 9, 3)), _CONVNEXT, 28_589_128, 0.0),
    "convnext_small": Preset(convnext((96, 192, 384, 768), (3, 3, 27, 3)), _CONVNEXT, 50_223_688, 0.0),
    "convnext_base": Preset(convnext((128, 256, 512, 1024), (3, 3, 27, 3)), _CONVNEXT, 88_591_464, 0.0),
    "ascan_like": Preset(
        ascan(64, (64, 128, 320, 512), (2, 3, 3, 1), (0, 0, 3, 3)),
        "the rule of AsCAN (arXiv 2411.04967)",
        None,
        0.0,
    ),
}


def _find_presets() -> dict[str, Preset]:
    """Those of this file, then those of each file in networks/."""
    found = dict(_OURS)
    for module in iter_modules(networks.__path__):
        found |= import_module(f"{networks.__name__}.{module.name}").PRESETS
    return found


PRESETS: Mapping[str, Preset] = _find_presets()
"""Name -> network."""


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InvalidInputError: if there is none; the message lists the known ones.
    """
    if name not in PRESETS:
        raise InvalidInputError(f"unknown preset {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
