"""Published layouts as four-stage tables, and their projection to a scale. Imports no torch.

What a table keeps is the arrangement: stem, relative depths, where attention stands, which attention, kernel,
expansion. Widths, and depths in absolute numbers, are the scale's. Sources, and what differs from them, stand in
docs/reference/space.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.records import Gene, Genotype, Value
from search_spaces.patterns import MIXED


@dataclass(frozen=True, slots=True)
class Layout:
    """Genes of four stages; a single value holds for all of them."""

    stem: str
    depths: tuple[int, int, int, int]
    pattern: tuple[str, str, str, str]
    attention: tuple[str, str, str, str]
    period: tuple[int, int, int, int] = (1, 1, 1, 1)
    conv: str = "mbconv"
    kernel: int = 3
    ratio: tuple[int, int, int, int] = (4, 4, 4, 4)
    group_sizes: str = "1-3-5-7"
    head_dim: int = 32
    partner: str = "conv"
    ffn: str = "frame"

    def mixers(self) -> set[str]:
        """The names of what stands in it somewhere, feed-forward included."""
        used: set[str] = set()
        for pattern, attention in zip(self.pattern, self.attention, strict=True):
            if pattern != "conv":
                used.add(attention)
            if pattern != "attention" and (self.partner == "conv" or pattern not in MIXED):
                used.add(self.conv)
            if pattern in MIXED and self.partner != "conv":
                used.add(self.partner)
        return used | ({self.ffn} - {"frame"})


FULL = ("full", "full", "full", "full")
KEY_ONLY = ("key_only", "key_only", "key_only", "key_only")
GROUP_MIX = ("group_mix", "group_mix", "group_mix", "group_mix")
CONV = ("conv", "conv", "conv", "conv")

LAYOUTS: Mapping[str, Layout] = {
    "convnext": Layout("patchify", (3, 3, 9, 3), CONV, FULL, conv="dwconv", kernel=7),
    "mbconv_net": Layout("conv", (2, 3, 5, 2), CONV, FULL),
    "coatnet": Layout("conv", (2, 3, 5, 2), ("conv", "conv", "attention", "attention"), FULL),
    "groupmixformer": Layout("conv", (4, 4, 12, 4), ("attention",) * 4, GROUP_MIX, head_dim=16),
    "linglo_alternate": Layout("overlap", (2, 2, 2, 2), ("alternate",) * 4, KEY_ONLY, ratio=(8, 8, 4, 4)),
    "linglo_fused": Layout("overlap", (2, 2, 2, 2), ("fused_serial",) * 4, KEY_ONLY, conv="dwconv", ratio=(8, 8, 4, 4)),
    "linglo_grafted": Layout(
        "overlap", (2, 2, 2, 2), ("conv", "conv", "attention", "attention"), KEY_ONLY, ratio=(8, 8, 4, 4)
    ),
    "ascan": Layout("conv", (2, 3, 6, 4), ("conv", "tail_t", "tail_t", "tail_t"), FULL, period=(1, 1, 3, 3)),
    "moat": Layout("conv", (2, 3, 7, 2), ("conv", "conv", "fused_serial", "fused_serial"), FULL),
    "nextvit": Layout("conv", (3, 4, 10, 3), ("conv", "tail_t", "every_k", "tail_t"), FULL, period=(1, 1, 4, 1)),
    "iformer": Layout("conv", (3, 3, 9, 3), ("fused_parallel",) * 4, FULL, conv="dwconv"),
    "pvt": Layout("overlap", (3, 4, 6, 3), ("attention",) * 4, KEY_ONLY),
    "group_mix_late": Layout(
        "conv", (2, 4, 12, 4), ("conv", "tail_t", "tail_t", "attention"), GROUP_MIX, period=(1, 1, 3, 1), head_dim=16
    ),
}


def project(layout: Layout, genes: Sequence[Gene], num_stages: int) -> Genotype:
    """The layout with the genes' values nearest to it, not yet repaired.

    With fewer than four stages the first and last of the table stay, the others are spread between. Depth goes by its
    share of the table's deepest stage, the period of tail_t and head_t by its share of the depth; width is the middle
    of the gene's values.
    """
    genotype: Genotype = {"stem": layout.stem}
    by_name = {gene.name: gene for gene in genes}
    for stage in range(num_stages):
        row = round(stage * 3 / (num_stages - 1))
        depth = by_name[f"stage{stage + 1}_depth"].values
        width = by_name[f"stage{stage + 1}_width"].values
        blocks = int(depth[round(layout.depths[row] / max(layout.depths) * (len(depth) - 1))])
        wanted: dict[str, Value] = {
            "depth": blocks,
            "width": width[len(width) // 2],
            "pattern": layout.pattern[row],
            "period": _scaled_period(layout.pattern[row], layout.period[row], blocks, layout.depths[row]),
            "attention": layout.attention[row],
            "partner": layout.partner,
            "ffn": layout.ffn,
            "group_sizes": layout.group_sizes,
            "conv": layout.conv,
            "kernel": layout.kernel,
            "ratio": layout.ratio[row],
            "head_dim": layout.head_dim,
        }
        for name, value in wanted.items():
            gene = by_name.get(f"stage{stage + 1}_{name}")
            if gene is not None:
                genotype[gene.name] = _nearest(gene, value)
    return genotype


def _scaled_period(pattern: str, period: int, depth: int, published_depth: int) -> int:
    return min(period, depth) if pattern == "every_k" else max(1, round(period * depth / published_depth))


def _nearest(gene: Gene, wanted: Value) -> Value:
    if isinstance(wanted, str):
        # A stage that does not attend, or does not convolve, may name what is not offered.
        return wanted if wanted in gene.values else gene.values[0]
    return min((value for value in gene.values if isinstance(value, int)), key=lambda value: abs(value - wanted))
