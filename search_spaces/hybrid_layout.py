"""The space of hybrid layouts: per stage which blocks convolve, which attend, and how. Imports no torch."""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from operator import itemgetter

import numpy as np

from nas import protocols
from nas.records import Costs, Gene, Genotype, Value
from search_spaces.architecture.block import StageSpec, StemSpec
from search_spaces.architecture.costs import block_costs, costs, downsample_costs, head_costs, parts, stem_costs
from search_spaces.architecture.drawing import draw
from search_spaces.architecture.kinds.kind import ATTENTION, CONV
from search_spaces.architecture.kinds.registry import names
from search_spaces.architecture.spec import Architecture
from search_spaces.architecture.tally import Tally, total
from search_spaces.frames import FRAMES, attended_width, block_kinds, has_heads, parse_kernels, stage_blocks
from search_spaces.genotypes import (
    check_genotype,
    costliest,
    count_genotypes,
    first_different,
    hash_space,
    mutants,
    nearest_valid,
    sample_uniform,
)
from search_spaces.published.layouts import LAYOUTS, project
from search_spaces.registry import SpaceFactory
from search_spaces.scales import SMALL_IMAGE, Scale, check_setting, find_scale, stage_map_sizes

FULL_ATTENTION_LIMIT = 3136
"""Positions from which on full attention is not allowed: N^2 products dwarf the rest."""
PATTERNS = ("conv", "attention", "alternate", "every_k", "tail_t", "head_t", "fused_serial", "fused_parallel")
"""Arrangements of the blocks of a stage; frames.block_kinds says what each is."""
GROUP_SIZES = ("1-3", "1-3-5", "1-3-7", "1-5-7", "3-5-7", "1-3-5-7", "1-3-5-7-9")
STAGE_GENES = ("depth", "width", "pattern", "period", "attention", "group_sizes", "conv", "kernel", "ratio", "head_dim")
STRUCTURE_GENES = ("depth", "width", "pattern", "period", "attention", "group_sizes", "kernel", "head_dim")
"""The genes of a stage that a rule reads."""
SIZE_GENES = ("head_dim", "kernel", "width", "group_sizes")
"""Those of them that a published layout gives up, the first most readily."""
SLOWEST: Mapping[str, Value] = {"pattern": "fused_serial", "attention": "group_mix", "conv": "mbconv"}
"""Genes of a stage that takes longest, besides the largest sizes."""


class HybridLayout:
    """Four stages (fewer on small images) of convolution, attention and fused blocks; the genes are those of DESIGN
    section 3.

    Args:
        scale: nano, mobile, tiny, small or base.
        image_size: side of the square images, in pixels.

    Raises:
        InvalidInputError: if the scale is unknown or the images do not fit.
    """

    name = "hybrid_layout"

    def __init__(self, scale: str, image_size: int, in_chans: int, num_classes: int) -> None:
        check_setting(image_size, in_chans, num_classes)
        self.scale = scale
        self._image_size = image_size
        self._in_chans = in_chans
        self._num_classes = num_classes
        self._map_sizes = stage_map_sizes(image_size)
        stages = range(1, len(self._map_sizes) + 1)
        self.genes = _genes(find_scale(scale), stages)
        by_name = {gene.name: gene for gene in self.genes}
        self._structure: list[tuple[Gene, ...]] = []
        self._stage_genes: list[list[str]] = []
        for stage in stages:
            self._structure.append(tuple(by_name[f"stage{stage}_{name}"] for name in STRUCTURE_GENES))
            self._stage_genes.append([f"stage{stage}_{name}" for name in STAGE_GENES])
        self._stage_values = [itemgetter(*names) for names in self._stage_genes]
        self._structure_values = [itemgetter(*_names_of(genes)) for genes in self._structure]
        self._block_costs = lru_cache(maxsize=65536)(self._sum_blocks)
        self._joint_costs = lru_cache(maxsize=4096)(self._sum_joints)

    @property
    def num_genotypes(self) -> int:
        return count_genotypes(self.genes)

    @cached_property
    def space_hash(self) -> str:
        setting = {"image_size": self._image_size, "in_chans": self._in_chans, "num_classes": self._num_classes}
        return hash_space(self.genes, {"space": self.name, "scale": self.scale, "version": 2, **setting})

    def sample(self, rng: np.random.Generator) -> Genotype:
        return self.repair(sample_uniform(self.genes, rng))

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        return first_different(self, genotype, mutants(self.genes, genotype, rng))

    def repair(self, genotype: Genotype) -> Genotype:
        check_genotype(self.genes, genotype)
        repaired = {gene.name: genotype[gene.name] for gene in self.genes}
        for index in range(len(self._map_sizes)):
            repaired.update(self._repair_stage(index, genotype))
        return repaired

    def _repair_stage(self, index: int, genotype: Genotype) -> Genotype:
        """The genes of one stage that must change; none if it can be built."""
        genes = self._structure[index]
        map_size = self._map_sizes[index]
        values = self._structure_values[index](genotype)
        return {} if _is_valid_stage(values, map_size) else _nearest_stage(genes, values, map_size)

    def architecture(self, genotype: Genotype) -> Architecture:
        kind = str(genotype["stem"])
        stages = tuple(self._stage(index, genotype) for index in range(len(self._map_sizes)))
        return Architecture(
            stem=self._stem(kind, stages[0].width),
            stages=stages,
            head_norm=FRAMES[kind].head_norm,
            image_size=self._image_size,
            in_chans=self._in_chans,
            num_classes=self._num_classes,
        )

    def _stem(self, kind: str, width: int) -> StemSpec:
        norm = "batch" if FRAMES[kind].head_norm == "batch" or self._image_size < SMALL_IMAGE else "layer"
        return StemSpec(kind, width, norm)

    def _stage(self, index: int, genotype: Genotype) -> StageSpec:
        frame = FRAMES[str(genotype["stem"])]
        genes = dict(zip(STAGE_GENES, self._stage_values[index](genotype), strict=True))
        downsample, stride = (frame.downsample, 2) if index else ("none", 1)
        blocks = stage_blocks(genes, frame, index, self._map_sizes[index])
        return StageSpec(int(genes["width"]), downsample, stride, blocks)

    def costs(self, architecture: protocols.Architecture) -> Costs:
        assert isinstance(architecture, Architecture)
        return costs(architecture)

    def genotype_costs(self, genotype: Genotype) -> Costs:
        """A sum over stages, each looked up by its genes: candidates are many, and most share their stages with
        others."""
        stem = str(genotype["stem"])
        in_width = 0
        tallies = []
        for index, values in enumerate(self._stage_values):
            blocks, width = self._block_costs(index, stem, values(genotype))
            tallies += [blocks, self._joint_costs(index, stem, in_width, width)]
            in_width = width
        return Costs(*total(*tallies))

    def _sum_blocks(self, index: int, stem: str, values: tuple[Value, ...]) -> tuple[Tally, int]:
        """What the blocks of one stage cost; and its width."""
        genotype: Genotype = {"stem": stem, **dict(zip(self._stage_genes[index], values, strict=True))}
        stage = self._stage(index, genotype | self._repair_stage(index, genotype))
        positions = self._map_sizes[index] ** 2
        return total(*[block_costs(block, stage.width, positions) for block in stage.blocks]), stage.width

    def _sum_joints(self, index: int, stem: str, in_width: int, width: int) -> Tally:
        """What stands before the blocks of one stage costs, and the head after the last."""
        frame = FRAMES[stem]
        size = self._map_sizes[index]
        if index == 0:
            before = stem_costs(self._stem(stem, width), self._in_chans, self._image_size)
        else:
            before = downsample_costs(frame.downsample, in_width, width, 2, size)
        if index < len(self._map_sizes) - 1:
            return before
        return total(before, head_costs(frame.head_norm, width, size**2, self._num_classes))

    def parts(self, architecture: protocols.Architecture) -> Sequence[tuple[str, int]]:
        assert isinstance(architecture, Architecture)
        return [(kind, macs) for kind, (_, macs) in parts(architecture)]

    def presets(self) -> Mapping[str, Genotype]:
        return {
            name: self._fit_sizes(project(layout, self.genes, len(self._map_sizes))) for name, layout in LAYOUTS.items()
        }

    def _fit_sizes(self, genotype: Genotype) -> Genotype:
        """Like repair, but what a layout is about (pattern, attention) stays wherever widths, kernels and heads can
        give way."""
        for genes, map_size in zip(self._structure, self._map_sizes, strict=True):
            values = tuple(genotype[gene.name] for gene in genes)
            if values[4] != "full" or map_size**2 < FULL_ATTENTION_LIMIT:
                genotype |= _nearest_stage(genes, values, map_size, SIZE_GENES)
        return self.repair(genotype)

    def largest(self) -> protocols.Architecture:
        return self._largest

    @cached_property
    def _largest(self) -> protocols.Architecture:
        return costliest(self)

    def slowest(self) -> protocols.Architecture:
        """Every stage at full depth, a convolution and group-mix attention in each block, as wide as that attention
        allows."""
        genotype = {gene.name: gene.values[-1] for gene in self.genes}
        for name in genotype:
            kind = name.partition("_")[2]
            if kind in SLOWEST:
                genotype[name] = SLOWEST[kind]
        return self.architecture(self._fit_sizes(genotype))

    def draw(self, architecture: protocols.Architecture) -> str:
        assert isinstance(architecture, Architecture)
        return draw(architecture)


def _names_of(genes: Sequence[Gene]) -> list[str]:
    return [gene.name for gene in genes]


def _genes(scale: Scale, stages: range) -> tuple[Gene, ...]:
    meaning = "stem and the frame that goes with it: downsampling, norms, positions"
    genes = [Gene("stem", ("conv", "patchify", "overlap"), False, meaning)]
    for number in stages:
        genes += _genes_of_stage(scale, number)
    return tuple(genes)


def _genes_of_stage(scale: Scale, number: int) -> list[Gene]:
    """In the order of STAGE_GENES; `number` counts from 1."""
    attentions = names(ATTENTION)
    with_heads = tuple(name for name in attentions if has_heads(name))
    stage = f"stage{number}_"
    pattern = f"{stage}pattern"
    attention = f"{stage}attention"
    counts = (pattern, ("every_k", "tail_t", "head_t"))
    convolves = (pattern, tuple(name for name in PATTERNS if name != "attention"))
    attends = (pattern, tuple(name for name in PATTERNS if name != "conv"))
    mixes_groups = (attends, (attention, ("group_mix",)))
    segments = "aggregator kernel per attended segment of group_mix, by size"
    return [
        Gene(f"{stage}depth", scale.depths[number - 1], True, "number of blocks"),
        Gene(f"{stage}width", scale.widths[number - 1], True, "channels"),
        Gene(pattern, PATTERNS, False, "where attention stands among convolutions"),
        Gene(f"{stage}period", (1, 2, 3, 4), True, "k of every_k; t of tail_t and head_t", (counts,)),
        Gene(attention, attentions, False, "the attention", (attends,)),
        Gene(f"{stage}group_sizes", GROUP_SIZES, True, segments, mixes_groups),
        Gene(f"{stage}conv", names(CONV), False, "the convolution", (convolves,)),
        Gene(f"{stage}kernel", (3, 5, 7), True, "kernel of the convolution", (convolves,)),
        Gene(f"{stage}ratio", scale.ratios, True, "expansion of convolution block and feed-forward"),
        Gene(f"{stage}head_dim", scale.head_dims, True, "channels per head", (attends, (attention, with_heads))),
    ]


@lru_cache(maxsize=65536)
def _is_valid_stage(values: tuple[str | int, ...], map_size: int) -> bool:
    """Whether a stage with these STRUCTURE_GENES can be built, and no kernel reads nothing but padding in its outer
    taps."""
    depth, width, pattern, period, attention, group_sizes, kernel, head_dim = values
    assert isinstance(depth, int) and isinstance(width, int) and isinstance(period, int) and isinstance(kernel, int)
    kinds = block_kinds(str(pattern), period, depth)
    reach = 2 * map_size - 1
    if any(kind != "attention" for kind in kinds) and kernel > max(3, reach):
        return False
    if all(kind == "conv" for kind in kinds):
        return True
    if attention == "full" and map_size**2 >= FULL_ATTENTION_LIMIT:
        return False
    kernels = parse_kernels(group_sizes)
    if attention == "group_mix" and (width % (len(kernels) + 1) or max(kernels) > max(3, reach)):
        return False
    return not has_heads(attention) or attended_width(width, attention, kernels) % int(head_dim) == 0


@lru_cache(maxsize=65536)
def _nearest_stage(
    genes: tuple[Gene, ...], values: tuple[str | int, ...], map_size: int, may_change: tuple[str, ...] = STRUCTURE_GENES
) -> Genotype:
    names = [gene.name for gene in genes]
    free = [genes[STRUCTURE_GENES.index(name)] for name in may_change]
    start = dict(zip(names, values, strict=True))
    return nearest_valid(
        free, start, lambda genotype: _is_valid_stage(tuple(genotype[name] for name in names), map_size)
    )


SPACE: SpaceFactory = HybridLayout
