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


@lru_cache(maxsize=64)
def parse_kernels(group_sizes: str) -> tuple[int, ...]:
    return tuple(int(size) for size in group_sizes.split("-"))


WITH_HEADS = frozenset(name for name, kind in KINDS.items() if HEADS[0] in kind.fields)
"""Attentions whose heads a gene divides."""


def attended_width(width: int, attention: str, group_sizes: str) -> float:
    """Channels shared by the heads: one more segment than kernels is split off, and not attended, in group_mix."""
    if attention != "group_mix":
        return width
    kernels = parse_kernels(group_sizes)
    return width * len(kernels) / (len(kernels) + 1)


def stage_blocks(genes: Genotype, frame: Frame, stage: int, map_size: int) -> tuple[BlockSpec, ...]:
    """The blocks of a stage, counted from 0, with a map of map_size x map_size positions."""
    pattern = str(genes["pattern"])
    kinds = block_kinds(pattern, int(genes["period"]), int(genes["depth"]))
    blocks = {kind: _block(kind, genes, frame, stage, map_size) for kind in set(kinds)}
    if pattern in MIXED and "conv" in blocks and genes["partner"] != "conv":
        blocks["conv"] = _block("attention", {**genes, "attention": genes["partner"]}, frame, stage, map_size)
    return tuple([blocks[kind] for kind in kinds])


def _block(kind: str, genes: Genotype, frame: Frame, stage: int, map_size: int) -> BlockSpec:
    conv = str(genes["conv"])
    kernel = int(genes["kernel"])
    ratio = int(genes["ratio"])
    if kind == "conv":
        return _conv_block(conv, kernel, ratio)
    attention = str(genes["attention"])
    head_dim = int(genes["head_dim"]) if attention in WITH_HEADS else 0
    group_sizes = str(genes["group_sizes"]) if attention == "group_mix" else ""
    ffn = str(genes.get("ffn", FRAME_FFN))
    fused = (conv, kernel) if kind != "attention" else ("", 0)
    place = (stage, map_size, int(genes["width"]))
    return _attention_block(
        kind,
        frame.position,
        frame.ffn if ffn == FRAME_FFN else ffn,
        attention,
        place,
        head_dim,
        group_sizes,
        *fused,
        ratio,
    )


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


def attention_spec(attention: str, place: Place, head_dim: int, group_sizes: str) -> BlockSpec:
    """A block with this attention alone, as a search sets it.

    Args:
        attention: name of a mixer.
        place: where it stands.
        head_dim: channels of a head; read where the attention has heads.
        group_sizes: kernels of group_mix, such as "1-3-5"; read there only.
    """
    mixes_groups = attention == "group_mix"
    has_heads = attention in WITH_HEADS
    attended = int(attended_width(place.width, attention, group_sizes))
    return BlockSpec(
        "attention",
        attention=attention,
        heads=attended // head_dim if has_heads else 0,
        head_dim=head_dim if has_heads else 0,
        group_sizes=parse_kernels(group_sizes) if mixes_groups else (),
        conv_branch=mixes_groups,
        options=KINDS[attention].searched(place),
    )


@lru_cache(maxsize=65536)
def _attention_block(
    kind: str,
    position: str,
    ffn: str,
    attention: str,
    place: tuple[int, int, int],
    head_dim: int,
    group_sizes: str,
    conv: str,
    kernel: int,
    ratio: int,
) -> BlockSpec:
    """A fused block with mbconv is MOAT's (its expansion stands for the feed-forward), one with dwconv LinGlo's."""
    fields = KINDS[conv].fields if conv else ()
    expands = conv != "dwconv" and "conv_ratio" in fields
    return replace(
        attention_spec(attention, Place(*place), head_dim, group_sizes),
        kind=kind,
        conv=conv,
        kernel=kernel if "kernel" in fields else 0,
        conv_ratio=ratio if expands else 0,
        position="none" if conv else position,
        ffn="none" if expands else ffn,
        ffn_ratio=0 if expands else ratio,
    )
