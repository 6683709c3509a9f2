"""A small space without attention: one kind of convolution block, one kernel, one size for the whole network. Imports
no torch."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from nas import protocols
from nas.records import Costs, Gene, Genotype
from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.costs import costs, parts
from search_spaces.architecture.drawing import draw
from search_spaces.architecture.spec import Architecture
from search_spaces.genotypes import (
    check_genotype,
    costliest,
    count_genotypes,
    first_different,
    hash_space,
    mutants,
    sample_uniform,
)
from search_spaces.registry import SpaceFactory
from search_spaces.scales import SMALL_IMAGE, check_setting, find_scale, stage_map_sizes

LEVELS = ("low", "high")
"""Of depth and width: the least and the most that the scale has in each stage."""


class ConvOnly:
    """ConvNeXt-like and MBConv networks in the same frame; 48 architectures at nano, so that a search can exhaust it.

    Args:
        scale: nano, mobile, tiny, small or base.
        image_size: side of the square images, in pixels.

    Raises:
        InvalidInputError: if the scale is unknown or the images do not fit.
    """

    name = "conv_only"

    def __init__(self, scale: str, image_size: int, in_chans: int, num_classes: int) -> None:
        check_setting(image_size, in_chans, num_classes)
        self.scale = scale
        self._sizes = find_scale(scale)
        self._image_size = image_size
        self._in_chans = in_chans
        self._num_classes = num_classes
        self._map_sizes = stage_map_sizes(image_size)
        self.genes = (
            Gene("stem", ("conv", "patchify"), False, "two 3x3 convolutions, or one of 4x4 pixels"),
            Gene("conv", ("mbconv", "dwconv"), False, "block: MBConv, or ConvNeXt's"),
            Gene("kernel", (3, 5, 7), True, "depthwise kernel, cut to what a stage's map can use"),
            Gene("depth", LEVELS, True, "least or most blocks of the scale"),
            Gene("width", LEVELS, True, "least or most channels of the scale"),
        )

    @property
    def num_genotypes(self) -> int:
        return count_genotypes(self.genes)

    @cached_property
    def space_hash(self) -> str:
        setting = {"image_size": self._image_size, "in_chans": self._in_chans, "num_classes": self._num_classes}
        return hash_space(self.genes, {"space": self.name, "scale": self.scale, "version": 1, **setting})

    def sample(self, rng: np.random.Generator) -> Genotype:
        return sample_uniform(self.genes, rng)

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        return first_different(self, genotype, mutants(self.genes, genotype, rng))

    def repair(self, genotype: Genotype) -> Genotype:
        """The genotype itself: no rule ties two genes."""
        check_genotype(self.genes, genotype)
        return {gene.name: genotype[gene.name] for gene in self.genes}

    def architecture(self, genotype: Genotype) -> Architecture:
        conv = str(genotype["conv"])
        kernel = int(genotype["kernel"])
        patchify = genotype["stem"] == "patchify"
        pick = {"low": 0, "high": -1}
        depth = pick[str(genotype["depth"])]
        width = pick[str(genotype["width"])]
        stages = []
        for index, map_size in enumerate(self._map_sizes):
            reach = max(3, 2 * map_size - 1)
            block = BlockSpec(
                "conv", conv=conv, kernel=min(kernel, reach), conv_ratio=4, se_ratio=0.25 if conv == "mbconv" else 0.0
            )
            downsample = "none" if index == 0 else "patchify" if patchify else "separable"
            blocks = (block,) * self._sizes.depths[index][depth]
            stages.append(StageSpec(self._sizes.widths[index][width], downsample, 1 if index == 0 else 2, blocks))
        norm = "layer" if patchify and self._image_size >= SMALL_IMAGE else "batch"
        stem = StemSpec(str(genotype["stem"]), stages[0].width, norm)
        head_norm = "layer" if patchify else "batch"
        return Architecture(stem, tuple(stages), head_norm, self._image_size, self._in_chans, self._num_classes)

    def costs(self, architecture: protocols.Architecture) -> Costs:
        assert isinstance(architecture, Architecture)
        return costs(architecture)

    def genotype_costs(self, genotype: Genotype) -> Costs:
        return costs(self.architecture(genotype))

    def parts(self, architecture: protocols.Architecture) -> Sequence[tuple[str, int]]:
        assert isinstance(architecture, Architecture)
        return [(kind, macs) for kind, (_, macs) in parts(architecture)]

    def presets(self) -> Mapping[str, Genotype]:
        return {
            "convnext": {"stem": "patchify", "conv": "dwconv", "kernel": 7, "depth": "high", "width": "high"},
            "mbconv_net": {"stem": "conv", "conv": "mbconv", "kernel": 3, "depth": "high", "width": "high"},
        }

    def largest(self) -> protocols.Architecture:
        return costliest(self)

    def slowest(self) -> protocols.Architecture:
        return self.largest()

    def draw(self, architecture: protocols.Architecture) -> str:
        assert isinstance(architecture, Architecture)
        return draw(architecture)


SPACE: SpaceFactory = ConvOnly
