"""A small space without attention: one kind of convolution block, one kernel, one size for the whole network. Imports
no torch."""

from collections.abc import Mapping

from nas.protocols import SearchSpace
from nas.records import Gene, Genotype
from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.spec import Architecture
from search_spaces.mapped import MappedSpace
from search_spaces.registry import SpaceFactory
from search_spaces.scales import SMALL_IMAGE, find_scale, stage_map_sizes

LEVELS = ("low", "high")
"""Choices of depth and width: the least and the most that the scale has in each stage."""
GENES = (
    Gene("stem", ("conv", "patchify"), False, "two 3x3 convolutions, or one of 4x4 pixels"),
    Gene("conv", ("mbconv", "dwconv"), False, "block: MBConv, or ConvNeXt's"),
    Gene("kernel", (3, 5, 7), True, "depthwise kernel, cut to what a stage's map can use"),
    Gene("depth", LEVELS, True, "least or most blocks of the scale"),
    Gene("width", LEVELS, True, "least or most channels of the scale"),
)
PRESETS: Mapping[str, Genotype] = {
    "convnext": {"stem": "patchify", "conv": "dwconv", "kernel": 7, "depth": "high", "width": "high"},
    "mbconv_net": {"stem": "conv", "conv": "mbconv", "kernel": 3, "depth": "high", "width": "high"},
}


def conv_only(scale: str, image_size: int, in_chans: int, num_classes: int) -> SearchSpace:
    """ConvNeXt-like and MBConv networks in the same frame; 48 architectures at nano, so that a search can exhaust it.

    Args:
        scale: nano, mobile, tiny, small or base.
        image_size: side of the square images, in pixels.

    Raises:
        InvalidInputError: if the scale is unknown or the images do not fit.
    """
    sizes = find_scale(scale)
    map_sizes = stage_map_sizes(image_size)

    def network(genotype: Genotype) -> Architecture:
        level = {"low": 0, "high": -1}
        depth = level[str(genotype["depth"])]
        width = level[str(genotype["width"])]
        patchify = genotype["stem"] == "patchify"
        between = "patchify" if patchify else "separable"
        stages = []
        for index, map_size in enumerate(map_sizes):
            blocks = (_block(genotype, map_size),) * sizes.depths[index][depth]
            downsample, stride = (between, 2) if index else ("none", 1)
            stages.append(StageSpec(sizes.widths[index][width], downsample, stride, blocks))
        norm = "layer" if patchify and image_size >= SMALL_IMAGE else "batch"
        stem = StemSpec(str(genotype["stem"]), stages[0].width, norm)
        head_norm = "layer" if patchify else "batch"
        return Architecture(stem, tuple(stages), head_norm, image_size, in_chans, num_classes)

    return MappedSpace(
        "conv_only", scale, image_size, in_chans, num_classes, genes=GENES, network=network, presets=PRESETS
    )


def _block(genotype: Genotype, map_size: int) -> BlockSpec:
    conv = str(genotype["conv"])
    kernel = min(int(genotype["kernel"]), max(3, 2 * map_size - 1))
    return BlockSpec("conv", conv=conv, kernel=kernel, conv_ratio=4, se_ratio=0.25 if conv == "mbconv" else 0.0)


SPACE: SpaceFactory = conv_only
