"""What predictions see of a hybrid layout: what stands in each stage, however the genes say it. Imports no torch.

Eight patterns with four periods arrange a stage of two blocks in few ways, and `partner` can say what `attention` does.
A surrogate of the genes takes these for different networks. So predictions see how much of a stage is of which kind and
mixer, and of sizes only those that a block of the stage reads.

Shares are levels from none to all, with thirds between. Levels of sizes begin at 1, and 0 is for what no block reads.
The traits of two networks may be equal where only the order of their blocks differs.

After White et al., "A Study on Encodings for Neural Architecture Search", NeurIPS 2020: what a predictor sees of a
network decides how much it learns from a training.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product

import numpy as np

from nas.protocols import Traits
from nas.records import Gene
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.frames import FRAME_FFN, FRAMES, WITH_HEADS
from search_spaces.patterns import MIXED, block_kinds

BLOCK_KINDS = ("conv", "attention", "fused_serial", "fused_parallel")
CONV, ATTENTION, *FUSED = range(len(BLOCK_KINDS))
THIRDS = 3
ALL = THIRDS + 1
"""A share is 0, one of THIRDS, or ALL."""


def layout_traits(genes: Sequence[Gene]) -> Traits:
    """The traits of the genes of a hybrid layout."""
    stem = next(gene for gene in genes if gene.name == "stem")
    labels = dict.fromkeys(gene.name.partition("_")[0] for gene in genes if gene is not stem)
    stages = [_StageTraits(label, genes) for label in labels]
    column = genes.index(stem)

    def levels(rows_ND: np.ndarray) -> np.ndarray:
        return np.column_stack([rows_ND[:, column], *(stage(rows_ND) for stage in stages)])

    return Traits((stem, *chain.from_iterable(stage.described for stage in stages)), levels)


class _StageTraits:
    """Reads one stage."""

    def __init__(self, label: str, genes: Sequence[Gene]) -> None:
        self._columns = {
            gene.name.removeprefix(f"{label}_"): column
            for column, gene in enumerate(genes)
            if gene.name == "stem" or gene.name.startswith(f"{label}_")
        }
        own = {name: genes[column] for name, column in self._columns.items()}
        self._genes = own
        self._ffns = _feed_forwards(own) if "ffn" in own else None
        self._attentions = [str(value) for value in own["attention"].values]
        self._convs = [str(value) for value in own["conv"].values]
        self._depths = np.array(own["depth"].values)
        self._is_mixed = np.array([pattern in MIXED for pattern in own["pattern"].values])
        self._counts, self._first = _arrangements(own)
        shares = [_share(np.arange(1 + depth), depth) for depth in self._depths]
        self._shares = np.unique(np.concatenate(shares))
        """Those that stages of these depths have."""
        self.described = tuple(self._describe(label))

    def _describe(self, label: str) -> Iterator[Gene]:
        for name in ("depth", "width"):
            yield self._genes[name]
        for name in (*BLOCK_KINDS, *self._attentions, *self._convs):
            levels = 2 if name.startswith("fused") else len(self._shares)
            yield Gene(f"{label}_share_{name}", tuple(range(levels)), True, f"share of {name} among the blocks")
        yield Gene(f"{label}_first", BLOCK_KINDS, False, "kind of the first block")
        for name in self._sizes:
            gene = self._genes[name]
            yield Gene(gene.name, tuple(range(1 + len(gene.values))), gene.ordered, gene.meaning)

    @property
    def _sizes(self) -> Sequence[str]:
        return [name for name in ("ratio", "kernel", "head_dim", "group_sizes", "ffn") if name in self._genes]

    def __call__(self, rows_ND: np.ndarray) -> np.ndarray:
        """(num_rows, number of described) int."""
        level = {name: rows_ND[:, column] for name, column in self._columns.items()}
        if self._ffns is not None:
            level["ffn"] = self._ffns[level["stem"], level["ffn"]]
        blocks = self._blocks(level)
        counts = np.column_stack([blocks.kinds, blocks.attentions, blocks.convs])
        shares = np.searchsorted(self._shares, _share(counts, self._depths[level["depth"]][:, None]))
        shares[:, FUSED] = shares[:, FUSED] > 0  # all blocks of a stage are fused, or none
        is_read = self._is_read(blocks)
        sizes = [(1 + level[name]) * is_read[name] for name in self._sizes]
        return np.column_stack([level["depth"], level["width"], shares, blocks.first, *sizes])

    def _blocks(self, level: Mapping[str, np.ndarray]) -> "_Blocks":
        placed = level["depth"], level["pattern"], level["period"]
        kinds = self._counts[placed].copy()
        first = self._first[placed].copy()
        fused = kinds[:, FUSED].sum(axis=1)
        attentions = _one_hot(level["attention"], len(self._attentions)) * (kinds[:, ATTENTION] + fused)[:, None]
        # A partner that attends stands where a convolution would.
        swapped = np.where(self._is_mixed[level["pattern"]] & (level["partner"] > 0), kinds[:, CONV], 0)
        kinds[:, CONV] -= swapped
        kinds[:, ATTENTION] += swapped
        first[(first == CONV) & (swapped > 0)] = ATTENTION
        attentions += _one_hot(level["partner"] - 1, len(self._attentions)) * swapped[:, None]
        convs = _one_hot(level["conv"], len(self._convs)) * (kinds[:, CONV] + fused)[:, None]
        return _Blocks(kinds, first, attentions, convs)

    def _is_read(self, blocks: "_Blocks") -> Mapping[str, np.ndarray]:
        """Gene -> (num_rows,) bool: whether a block of the stage reads it."""
        has_kernel = [name for name in self._convs if "kernel" in KINDS[name].fields]
        has_ratio = [name for name in self._convs if "conv_ratio" in KINDS[name].fields]
        # The convolution of such a fused block takes the place of its feed-forward.
        expands = _any(blocks.convs, [name in has_ratio and name != "dwconv" for name in self._convs])
        is_fused = blocks.kinds[:, FUSED].sum(axis=1) > 0
        has_ffn = (blocks.kinds[:, ATTENTION] > 0) | (is_fused & ~expands)
        return {
            "ratio": has_ffn | _any(blocks.convs, [name in has_ratio for name in self._convs]),
            "kernel": _any(blocks.convs, [name in has_kernel for name in self._convs]),
            "head_dim": _any(blocks.attentions, [name in WITH_HEADS for name in self._attentions]),
            "group_sizes": _any(blocks.attentions, [name == "group_mix" for name in self._attentions]),
            "ffn": has_ffn,
        }


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The blocks of a stage, counted for each row."""

    kinds: np.ndarray
    """(num_rows, number of BLOCK_KINDS)."""
    first: np.ndarray
    """(num_rows,) place of the first block's kind among BLOCK_KINDS."""
    attentions: np.ndarray
    """(num_rows, number of attentions)."""
    convs: np.ndarray
    """(num_rows, number of convolutions)."""


def _arrangements(genes: Mapping[str, Gene]) -> tuple[np.ndarray, np.ndarray]:
    """By levels of depth, pattern and period: how many blocks there are of each of BLOCK_KINDS, and that of the
    first."""
    choices = [genes[name].values for name in ("depth", "pattern", "period")]
    shape = [len(values) for values in choices]
    counts: np.ndarray = np.zeros((*shape, len(BLOCK_KINDS)), dtype=int)
    first = np.zeros(shape, dtype=int)
    for place, (depth, pattern, period) in zip(np.ndindex(*shape), product(*choices), strict=True):
        kinds = [BLOCK_KINDS.index(kind) for kind in block_kinds(str(pattern), int(period), int(depth))]
        counts[place] = np.bincount(kinds, minlength=len(BLOCK_KINDS))
        first[place] = kinds[0]
    return counts, first


def _feed_forwards(genes: Mapping[str, Gene]) -> np.ndarray:
    """By levels of stem and ffn: the level of the feed-forward that is built, as a stem brings one of its own."""
    ffns = list(genes["ffn"].values)
    rows = []
    for stem in genes["stem"].values:
        brought = FRAMES[str(stem)].ffn
        frame = ffns.index(brought) if brought in ffns else ffns.index(FRAME_FFN)
        rows.append([frame if ffn == FRAME_FFN else level for level, ffn in enumerate(ffns)])
    return np.array(rows)


def _any(counts: np.ndarray, chosen: Sequence[bool]) -> np.ndarray:
    """(num_rows,) bool: whether a chosen column counts something."""
    return np.asarray(counts[:, chosen].sum(axis=1) > 0)


def _one_hot(levels_N: np.ndarray, num_levels: int) -> np.ndarray:
    """(num_rows, num_levels) int; a row of zeros for what is no level."""
    hot: np.ndarray = (levels_N[:, None] == np.arange(num_levels)).astype(int)
    return hot


def _share(counts: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """0 for none of the blocks, ALL for all, the thirds between."""
    shares: np.ndarray = np.where(counts == depth, ALL, np.where(counts == 0, 0, 1 + THIRDS * counts // depth))
    return shares
