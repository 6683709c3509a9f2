"""The space of hybrid layouts: per stage which blocks convolve, which attend, and how. Imports no torch."""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any

import numpy as np

from nas import protocols
from nas.records import Costs, Gene, Genotype, Value
from search_spaces.architecture.block import StageSpec, StemSpec
from search_spaces.architecture.costs import block_costs, costs, downsample_costs, head_costs, parts, stem_costs
from search_spaces.architecture.drawing import draw
from search_spaces.architecture.kinds.kind import ATTENTION, CONV, Place
from search_spaces.architecture.kinds.registry import KINDS, names
from search_spaces.architecture.spec import Architecture
from search_spaces.architecture.tally import Tally, total
from search_spaces.frames import (
    FRAME_FFN,
    FRAMES,
    WITH_HEADS,
    attended_width,
    attention_spec,
    parse_kernels,
    stage_blocks,
)
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
from search_spaces.layout_traits import layout_traits
from search_spaces.mixer_sets import DEFAULT, SEARCHED_FFNS, SET_NAMES, find_mixers
from search_spaces.patterns import MIXED, PATTERNS, attentions_of
from search_spaces.published.layouts import LAYOUTS, project
from search_spaces.registry import SpaceFactory
from search_spaces.scales import SMALL_IMAGE, Scale, check_setting, find_scale, stage_map_sizes

FULL_ATTENTION_LIMIT = 3136
"""Positions from which on full attention is not allowed: N^2 products dwarf the rest."""
GROUP_SIZES = ("1-3", "1-3-5", "1-3-7", "1-5-7", "3-5-7", "1-3-5-7", "1-3-5-7-9")
STAGE_GENES = (
    "depth",
    "width",
    "pattern",
    "period",
    "attention",
    "partner",
    "group_sizes",
    "conv",
    "kernel",
    "ratio",
    "head_dim",
    "ffn",
)
"""Those of a stage; ffn where the mixers name feed-forwards."""
STRUCTURE_GENES = ("depth", "width", "pattern", "period", "attention", "partner", "group_sizes", "kernel", "head_dim")
"""The genes of a stage that a rule reads."""
SIZE_GENES = ("head_dim", "kernel", "width", "group_sizes")
"""Those of them that a published layout gives up, the first most readily."""


class HybridLayout:
    """Four stages (fewer on small images) of convolution, attention and fused blocks; the genes are those of DESIGN
    section 3.

    Args:
        scale: nano, mobile, tiny, small or base.
        image_size: side of the square images, in pixels.
        mixers: what a stage may choose among: names of mixers and feed-forwards, or of the sets of mixer_sets.py.

    Raises:
        InvalidInputError: if the scale or a mixer is unknown, or the images do not fit.
    """

    name = "hybrid_layout"
    mixer_set_names = SET_NAMES

    def __init__(self, scale: str, image_size: int, in_chans: int, num_classes: int, mixers: str = DEFAULT) -> None:
        check_setting(image_size, in_chans, num_classes)
        found = find_mixers(mixers)
        self.scale = scale
        self.mixers = ",".join(found)
        self._image_size = image_size
        self._in_chans = in_chans
        self._num_classes = num_classes
        self._map_sizes = stage_map_sizes(image_size)
        stages = range(1, len(self._map_sizes) + 1)
        self.genes = _genes(find_scale(scale), stages, found)
        by_name = {gene.name: gene for gene in self.genes}
        self._structure: list[tuple[Gene, ...]] = []
        self._stage_genes: list[list[str]] = []
        self._gene_names = [name for name in STAGE_GENES if f"stage1_{name}" in by_name]
        for stage in stages:
            self._structure.append(tuple(by_name[f"stage{stage}_{name}"] for name in STRUCTURE_GENES))
            self._stage_genes.append([f"stage{stage}_{name}" for name in self._gene_names])
        self._stage_values = [itemgetter(*names) for names in self._stage_genes]
        self._structure_values = [itemgetter(*_names_of(genes)) for genes in self._structure]
        self._changes = lru_cache(maxsize=65536)(self._find_changes)
        self._block_costs = lru_cache(maxsize=65536)(self._sum_blocks)
        self._joint_costs = lru_cache(maxsize=4096)(self._sum_joints)

    @property
    def num_genotypes(self) -> int:
        return count_genotypes(self.genes)

    @cached_property
    def traits(self) -> protocols.Traits:
        """What stands in each stage."""
        return layout_traits(self.genes)

    @cached_property
    def space_hash(self) -> str:
        setting = {"image_size": self._image_size, "in_chans": self._in_chans, "num_classes": self._num_classes}
        return hash_space(self.genes, {"space": self.name, "scale": self.scale, "version": 3, **setting})

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
        return self._changes(index, self._structure_values[index](genotype))

    def _find_changes(self, index: int, values: tuple[Value, ...]) -> Genotype:
        map_size = self._map_sizes[index]
        if _is_valid_stage(values, index, map_size):
            return {}
        return _nearest_stage(self._structure[index], values, index, map_size)

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
        genes = dict(zip(self._gene_names, self._stage_values[index](genotype), strict=True))
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
        mixers = set(self.mixers.split(","))
        offered = {name: layout for name, layout in LAYOUTS.items() if layout.mixers() <= mixers}
        stages = len(self._map_sizes)
        return {name: self._fit_sizes(project(layout, self.genes, stages)) for name, layout in offered.items()}

    def _fit_sizes(self, genotype: Genotype) -> Genotype:
        """Like repair, but what a layout is about (pattern, attention) stays wherever widths, kernels and heads can
        give way."""
        for index, genes in enumerate(self._structure):
            values = tuple(genotype[gene.name] for gene in genes)
            map_size = self._map_sizes[index]
            attentions = (str(values[4]), str(values[5])) if values[5] != "conv" else (str(values[4]),)
            if not any(_is_too_large(attention, map_size) for attention in attentions):
                genotype |= _nearest_stage(genes, values, index, map_size, SIZE_GENES)
        return self.repair(genotype)

    def largest(self) -> protocols.Architecture:
        return self._largest

    @cached_property
    def _largest(self) -> protocols.Architecture:
        return costliest(self)

    def slowest(self) -> protocols.Architecture:
        """Every stage at full depth, a convolution and an attention in each block: group-mix where it is offered, else
        that with the most macs; as wide as it allows."""
        genotype = {gene.name: gene.values[-1] for gene in self.genes}
        for gene in self.genes:
            kind = gene.name.partition("_")[2]
            if kind == "pattern":
                genotype[gene.name] = "fused_serial"
            elif kind in ("conv", "partner", "ffn"):
                genotype[gene.name] = gene.values[0]
            elif kind == "attention" and "group_mix" in gene.values:
                genotype[gene.name] = "group_mix"
        if "group_mix" in self.mixers.split(","):
            return self.architecture(self._fit_sizes(genotype))
        return self._costliest_attentions(genotype)

    def _costliest_attentions(self, genotype: Genotype) -> protocols.Architecture:
        """The genotype with the same attention in every stage, that with the most macs."""
        of_stages = [gene for gene in self.genes if gene.name.endswith("_attention")]
        made = []
        for attention in of_stages[0].values:
            wanted = genotype | {gene.name: attention for gene in of_stages}
            made.append(self.architecture(self._fit_sizes(wanted)))
        return max(made, key=lambda architecture: self.costs(architecture).macs)

    def draw(self, architecture: protocols.Architecture) -> str:
        assert isinstance(architecture, Architecture)
        return draw(architecture)


def _names_of(genes: Sequence[Gene]) -> list[str]:
    return [gene.name for gene in genes]


def _genes(scale: Scale, stages: range, mixers: Sequence[str]) -> tuple[Gene, ...]:
    meaning = "stem and the frame that goes with it: downsampling, norms, positions"
    genes = [Gene("stem", ("conv", "patchify", "overlap"), False, meaning)]
    for number in stages:
        genes += _genes_of_stage(scale, number, mixers)
    return tuple(genes)


def _genes_of_stage(scale: Scale, number: int, mixers: Sequence[str]) -> list[Gene]:
    """In the order of STAGE_GENES; `number` counts from 1."""
    attentions = tuple(name for name in names(ATTENTION) if name in mixers)
    convs = tuple(name for name in names(CONV) if name in mixers)
    ffns = tuple(name for name in SEARCHED_FFNS if name in mixers)
    with_heads = tuple(name for name in attentions if name in WITH_HEADS)
    stage = f"stage{number}_"
    pattern = f"{stage}pattern"
    attention = f"{stage}attention"
    partner = f"{stage}partner"
    counts = (pattern, ("every_k", "tail_t", "head_t"))
    mixed = (pattern, MIXED)
    attends = (pattern, tuple(name for name in PATTERNS if name != "conv"))
    convolves = (pattern, tuple(name for name in PATTERNS if name not in ("attention", *MIXED)))
    beside = (mixed, (partner, ("conv",)))
    genes = [
        Gene(f"{stage}depth", scale.depths[number - 1], True, "number of blocks"),
        Gene(f"{stage}width", scale.widths[number - 1], True, "channels"),
        Gene(pattern, PATTERNS, False, "where attention stands, and where its partner"),
        Gene(f"{stage}period", (1, 2, 3, 4), True, "k of every_k; t of tail_t and head_t", (counts,)),
        Gene(attention, attentions, False, "the attention", (attends,)),
        Gene(partner, ("conv", *attentions), False, "what stands at the pattern's other places", (mixed,)),
        Gene(
            f"{stage}group_sizes",
            GROUP_SIZES,
            True,
            "aggregator kernel per attended segment of group_mix, by size",
            (attends, (attention, ("group_mix",))),
            (mixed, (partner, ("group_mix",))),
        ),
        Gene(f"{stage}conv", convs, False, "the convolution", (convolves,), beside),
        Gene(f"{stage}kernel", (3, 5, 7), True, "kernel of the convolution", (convolves,), beside),
        Gene(f"{stage}ratio", scale.ratios, True, "expansion of convolution block and feed-forward"),
        Gene(
            f"{stage}head_dim",
            scale.head_dims,
            True,
            "channels per head",
            (attends, (attention, with_heads)),
            (mixed, (partner, with_heads)),
        ),
    ]
    if ffns:
        genes.append(Gene(f"{stage}ffn", (FRAME_FFN, *ffns), False, "the feed-forward; frame: the stem's", (attends,)))
    return genes


def _is_valid_stage(values: tuple[Any, ...], index: int, map_size: int) -> bool:
    """Whether a stage with these STRUCTURE_GENES can be built, and no kernel reads nothing but padding in its outer
    taps."""
    depth, width, pattern, period, attention, partner, group_sizes, kernel, head_dim = values
    convolves, attentions = attentions_of(pattern, period, depth, attention, partner)
    if convolves and kernel > max(3, 2 * map_size - 1):
        return False
    for name in attentions:
        # What the attention does not read would only make the cache miss.
        of_heads = head_dim if name in WITH_HEADS else 0
        of_groups = group_sizes if name == "group_mix" else ""
        if not _fits(name, index, map_size, width, of_heads, of_groups):
            return False
    return True


@lru_cache(maxsize=65536)
def _fits(attention: str, index: int, map_size: int, width: int, head_dim: int, group_sizes: str) -> bool:
    """Whether an attention can be built where it is to stand."""
    if _is_too_large(attention, map_size):
        return False
    if attention == "group_mix":
        kernels = parse_kernels(group_sizes)
        if width % (len(kernels) + 1) or max(kernels) > max(3, 2 * map_size - 1):
            return False
    if attention in WITH_HEADS and attended_width(width, attention, group_sizes) % head_dim:
        return False
    place = Place(index, map_size, width)
    return not KINDS[attention].problem(attention_spec(attention, place, head_dim, group_sizes), width)


def _is_too_large(attention: str, map_size: int) -> bool:
    return KINDS[attention].is_quadratic and map_size**2 >= FULL_ATTENTION_LIMIT


def _nearest_stage(
    genes: tuple[Gene, ...],
    values: tuple[str | int, ...],
    index: int,
    map_size: int,
    may_change: tuple[str, ...] = STRUCTURE_GENES,
) -> Genotype:
    names = _names_of(genes)
    values_of = itemgetter(*names)
    free = [genes[STRUCTURE_GENES.index(name)] for name in may_change]
    start = dict(zip(names, values, strict=True))
    return nearest_valid(free, start, lambda genotype: _is_valid_stage(values_of(genotype), index, map_size))


SPACE: SpaceFactory = HybridLayout
