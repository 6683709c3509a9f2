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
ATTENTION = ("attention", "attention", "attention", "attention")
ALTERNATE = ("alternate", "alternate", "alternate", "alternate")
LATE = ("conv", "conv", "attention", "attention")

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
    "davit": Layout("patchify", (2, 2, 6, 2), ALTERNATE, ("channel_group",) * 4, partner="window"),
    "maxvit": Layout("conv", (4, 4, 10, 4), ALTERNATE, ("grid",) * 4, partner="window"),
    "crossformer": Layout("patchify", (1, 1, 8, 6), ALTERNATE, ("grid",) * 4, partner="window"),
    "l2vit": Layout("conv", (2, 2, 6, 2), ALTERNATE, ("linear",) * 4, partner="window"),
    "glnet": Layout(
        "conv",
        (4, 4, 18, 4),
        ("attention", "attention", "alternate", "attention"),
        ("glmix", "glmix", "full", "full"),
        ratio=(3, 3, 3, 3),
        partner="glmix",
    ),
    "nat": Layout("conv", (3, 4, 6, 5), ATTENTION, ("neighbourhood",) * 4, ratio=(3, 3, 3, 3)),
    "pvt_v2": Layout("overlap", (2, 2, 2, 2), ATTENTION, ("pooled",) * 4, ratio=(8, 8, 4, 4)),
    "transnext": Layout(
        "overlap", (2, 2, 15, 2), ATTENTION, ("aggregated",) * 4, ratio=(8, 8, 4, 4), head_dim=24, ffn="conv_glu"
    ),
    "biformer": Layout("conv", (2, 2, 8, 2), ATTENTION, ("bra",) * 4, ratio=(3, 3, 3, 3)),
    "inline_swin": Layout("patchify", (2, 2, 6, 2), ATTENTION, ("inline", "inline", "inline", "window")),
    "casvit": Layout("conv", (2, 2, 4, 2), ("fused_serial",) * 4, ("additive",) * 4, conv="dwconv"),
    "shvit": Layout("conv", (2, 2, 4, 5), LATE, ("shsa",) * 4, conv="dwconv", ratio=(2, 2, 2, 2)),
    "iformer_split": Layout("conv", (3, 3, 9, 3), ATTENTION, ("inception",) * 4),
    "partialnet": Layout("patchify", (1, 2, 8, 2), ATTENTION, ("pat",) * 4, ratio=(2, 2, 2, 2)),
    "hornet": Layout("patchify", (2, 3, 18, 2), ATTENTION, ("gnconv",) * 4),
    "lsnet": Layout(
        "conv",
        (2, 2, 8, 10),
        ("conv", "every_k", "every_k", "every_k"),
        ("lsconv", "lsconv", "lsconv", "full"),
        period=(1, 2, 2, 2),
        conv="dwconv",
        ratio=(2, 2, 2, 2),
    ),
    "van": Layout("overlap", (3, 3, 5, 2), ATTENTION, ("lka",) * 4, ratio=(8, 8, 4, 4)),
    "attnet": Layout("conv", (2, 2, 4, 2), ATTENTION, ("atconv",) * 4, ratio=(8, 8, 4, 4), ffn="conv_glu"),
    "ffnet": Layout("conv", (2, 2, 8, 2), ATTENTION, ("ffnified",) * 4, ratio=(3, 3, 3, 3)),
    "overlock": Layout("conv", (2, 2, 6, 2), ATTENTION, ("contmix",) * 4),
    "dico": Layout("conv", (2, 2, 6, 2), ATTENTION, ("dico",) * 4),
    "ghostnet_v2": Layout("conv", (2, 2, 6, 2), LATE, ("dfc",) * 4),
    "nextvit_pooled": Layout(
        "conv", (3, 4, 10, 3), ("conv", "tail_t", "every_k", "tail_t"), ("pooled",) * 4, period=(1, 1, 4, 1)
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
