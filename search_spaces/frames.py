"""From the genes of a stage to its blocks. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from nas.records import Genotype
from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import HEADS, Place
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import Options


@dataclass(frozen=True, slots=True)
class Frame:
    """What goes with a stem, so that each stem is the frame of one published family."""

    downsample: str
    head_norm: str
    position: str
    ffn: str


FRAMES: Mapping[str, Frame] = {
    "conv": Frame(downsample="separable", head_norm="batch", position="cpe", ffn="mlp"),
    "patchify": Frame(downsample="patchify", head_norm="layer", position="cpe", ffn="mlp"),
    "overlap": Frame(downsample="overlap", head_norm="layer", position="none", ffn="mlp_dw"),
}
"""GroupMixFormer's, ConvNeXt's and PVTv2's frame; the depthwise feed-forward of the last encodes positions by
itself."""


def block_kinds(pattern: str, period: int, depth: int) -> tuple[str, ...]:
    """The kind of each block of a stage; `period` is k of every_k and t of tail_t and head_t, and idle otherwise."""
    if pattern in ("conv", "attention", "fused_serial", "fused_parallel"):
        return (pattern,) * depth
    attended = {
        "alternate": range(1, depth, 2),
        "every_k": range(period - 1, depth, period),
        "tail_t": range(max(0, depth - period), depth),
        "head_t": range(period),
    }[pattern]
    return tuple("attention" if index in attended else "conv" for index in range(depth))


def parse_kernels(group_sizes: object) -> tuple[int, ...]:
    return tuple(int(size) for size in str(group_sizes).split("-"))


def has_heads(attention: object) -> bool:
    return HEADS[0] in KINDS[str(attention)].fields


def attended_width(width: int, attention: object, kernels: tuple[int, ...]) -> float:
    """Channels shared by the heads: one more segment than kernels is split off, and not attended, in group_mix."""
    return width * len(kernels) / (len(kernels) + 1) if attention == "group_mix" else width


def stage_blocks(genes: Genotype, frame: Frame, stage: int, map_size: int) -> tuple[BlockSpec, ...]:
    """The blocks of a stage, counted from 0, with a map of map_size x map_size positions."""
    kinds = block_kinds(str(genes["pattern"]), int(genes["period"]), int(genes["depth"]))
    place = Place(stage, map_size, int(genes["width"]))
    blocks = {kind: _block(kind, genes, frame, place) for kind in set(kinds)}
    return tuple(blocks[kind] for kind in kinds)


def _block(kind: str, genes: Genotype, frame: Frame, place: Place) -> BlockSpec:
    conv = str(genes["conv"])
    kernel = int(genes["kernel"])
    ratio = int(genes["ratio"])
    if kind == "conv":
        return _conv_block(conv, kernel, ratio)
    attention = str(genes["attention"])
    head_dim = int(genes["head_dim"]) if has_heads(attention) else 0
    kernels = parse_kernels(genes["group_sizes"]) if attention == "group_mix" else ()
    fused = (conv, kernel) if kind != "attention" else ("", 0)
    options = KINDS[attention].searched(place)
    return _attention_block(kind, frame, place.width, attention, head_dim, kernels, options, *fused, ratio)


# Candidates are many and their blocks few, so each block is made once.
@lru_cache(maxsize=4096)
def _conv_block(conv: str, kernel: int, ratio: int) -> BlockSpec:
    return BlockSpec("conv", conv=conv, kernel=kernel, conv_ratio=ratio, se_ratio=0.25 if conv == "mbconv" else 0.0)


@lru_cache(maxsize=65536)
def _attention_block(
    kind: str,
    frame: Frame,
    width: int,
    attention: str,
    head_dim: int,
    kernels: tuple[int, ...],
    options: Options,
    conv: str,
    kernel: int,
    ratio: int,
) -> BlockSpec:
    """A fused block with mbconv is MOAT's (its expansion stands for the feed-forward), one with dwconv LinGlo's."""
    attended = int(attended_width(width, attention, kernels))
    expands = conv == "mbconv"
    return BlockSpec(
        kind,
        conv=conv,
        kernel=kernel,
        conv_ratio=ratio if expands else 0,
        attention=attention,
        heads=attended // head_dim if head_dim else 0,
        head_dim=head_dim,
        group_sizes=kernels,
        conv_branch=attention == "group_mix",
        position="none" if conv else frame.position,
        ffn="none" if expands else frame.ffn,
        ffn_ratio=0 if expands else ratio,
        options=options,
    )
