"""From the genes of a stage to its blocks. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from nas.records import Genotype
from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import HEADS, Place
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.patterns import MIXED, block_kinds


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


FRAME_FFN = "frame"
"""Value of the gene ffn for the feed-forward that goes with the stem."""


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
    if "conv" in blocks and genes["pattern"] in MIXED and genes["partner"] != "conv":
        blocks["conv"] = _block("attention", {**genes, "attention": genes["partner"]}, frame, place)
    return tuple(blocks[kind] for kind in kinds)


def _block(kind: str, genes: Genotype, frame: Frame, place: Place) -> BlockSpec:
    conv = str(genes["conv"])
    kernel = int(genes["kernel"])
    ratio = int(genes["ratio"])
    if kind == "conv":
        return _conv_block(conv, kernel, ratio)
    attention = str(genes["attention"])
    head_dim = int(genes["head_dim"])
    kernels = parse_kernels(genes["group_sizes"])
    fused = (conv, kernel) if kind != "attention" else ("", 0)
    ffn = str(genes.get("ffn", FRAME_FFN))
    ffn = frame.ffn if ffn == FRAME_FFN else ffn
    mixer = attention_spec(attention, place, head_dim, kernels)
    return _attention_block(kind, frame.position, ffn, mixer, *fused, ratio)


# Candidates are many and their blocks few, so each block is made once.
@lru_cache(maxsize=4096)
def _conv_block(conv: str, kernel: int, ratio: int) -> BlockSpec:
    fields = KINDS[conv].fields
    return BlockSpec(
        "conv",
        conv=conv,
        kernel=kernel if "kernel" in fields else 0,
        conv_ratio=ratio if "conv_ratio" in fields else 0,
        se_ratio=0.25 if "se_ratio" in fields else 0.0,
    )


@lru_cache(maxsize=65536)
def attention_spec(attention: str, place: Place, head_dim: int, kernels: tuple[int, ...]) -> BlockSpec:
    """A block with this attention alone, as a search sets it."""
    mixes_groups = attention == "group_mix"
    attended = int(attended_width(place.width, attention, kernels))
    return BlockSpec(
        "attention",
        attention=attention,
        heads=attended // head_dim if has_heads(attention) else 0,
        head_dim=head_dim if has_heads(attention) else 0,
        group_sizes=kernels if mixes_groups else (),
        conv_branch=mixes_groups,
        options=KINDS[attention].searched(place),
    )


@lru_cache(maxsize=65536)
def _attention_block(
    kind: str, position: str, ffn: str, mixer: BlockSpec, conv: str, kernel: int, ratio: int
) -> BlockSpec:
    """A fused block with mbconv is MOAT's (its expansion stands for the feed-forward), one with dwconv LinGlo's."""
    fields = KINDS[conv].fields if conv else ()
    expands = conv != "dwconv" and "conv_ratio" in fields
    return replace(
        mixer,
        kind=kind,
        conv=conv,
        kernel=kernel if "kernel" in fields else 0,
        conv_ratio=ratio if expands else 0,
        position="none" if conv else position,
        ffn="none" if expands else ffn,
        ffn_ratio=0 if expands else ratio,
    )
