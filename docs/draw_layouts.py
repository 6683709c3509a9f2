"""Draws the pictures of docs/reference/space.md: one per pattern and one per published network.

PYTHONPATH=. python docs/draw_layouts.py docs/images/layouts
"""

import sys
from dataclasses import replace
from pathlib import Path

from search_spaces.architecture.drawing import draw
from search_spaces.hybrid_layout import HybridLayout
from search_spaces.published.families import PRESETS

PATTERNS = ("conv", "attention", "alternate", "every_k", "tail_t", "head_t", "fused_serial", "fused_parallel")
NETWORKS = (
    "groupmixformer_tiny",
    "linglo_b1",
    "linglo_b1_grafted",
    "convnext_tiny",
    "coatnet_0",
    "moat_0",
    "maxvit_tiny",
    "ascan_like",
    "van_b0",
)


def drawings() -> dict[str, str]:
    """File name without suffix -> SVG."""
    pictures = {f"pattern_{pattern}": draw_pattern(pattern) for pattern in PATTERNS}
    return pictures | {name: draw(PRESETS[name].architecture) for name in NETWORKS}


def draw_pattern(pattern: str) -> str:
    """One stage of six blocks, MBConv and group-mix attention, period 2 (3 for every_k)."""
    space = HybridLayout("mobile", 224, 3, 1000)
    stage = {
        "pattern": pattern,
        "period": 3 if pattern == "every_k" else 2,
        "depth": 6,
        "width": 160,
        "attention": "group_mix",
        "conv": "mbconv",
        "head_dim": 16,
        "kernel": 3,
    }
    genotype = {gene.name: gene.values[0] for gene in space.genes}
    genotype |= {f"stage3_{name}": value for name, value in stage.items()} | {"stage3_group_sizes": "1-3-5-7"}
    architecture = space.architecture(space.repair(genotype))
    one = replace(architecture.stages[2], downsample="none", stride=1)
    return draw(replace(architecture, stages=(one,), stem=replace(architecture.stem, width=one.width), image_size=56))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in drawings().items():
        (folder / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
