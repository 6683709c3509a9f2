"""A layout as an SVG picture: one group per stage, one box per block. Imports no torch."""

from html import escape

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.layout import block_symbol
from search_spaces.architecture.spec import Architecture

BOX_WIDTH = 58
BOX_HEIGHT = 30
GAP = 6
MARGIN = 12
HEADER = 44


def draw(architecture: Architecture) -> str:
    """A standalone SVG: stages from top to bottom with width and map size, blocks from left to right, legend below.

    A fused block is split: serial side by side, parallel one above the other.
    """
    deepest = max(len(stage.blocks) for stage in architecture.stages)
    row_height = BOX_HEIGHT + 26
    width = max(360, 2 * MARGIN + 96 + deepest * (BOX_WIDTH + GAP))
    used = _used_mixers(architecture)
    height = HEADER + len(architecture.stages) * row_height + 20 * len(used) + 2 * MARGIN
    title = f"{architecture.stem.kind} stem, {architecture.image_size} px, {architecture.num_classes} classes"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f"<title>{escape(architecture.layout())}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{MARGIN}" y="26" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for row, (stage, size) in enumerate(zip(architecture.stages, architecture.map_sizes(), strict=True)):
        top = HEADER + row * row_height
        parts.append(f'<g class="stage"><text x="{MARGIN}" y="{top + 13}">stage {row + 1}</text>')
        parts.append(f'<text x="{MARGIN}" y="{top + 28}" fill="#555">{stage.width} ch, {size}x{size}</text>')
        parts += [_box(block, MARGIN + 96 + index * (BOX_WIDTH + GAP), top) for index, block in enumerate(stage.blocks)]
        parts.append("</g>")
    parts += [
        _legend(name, HEADER + len(architecture.stages) * row_height + 20 * index) for index, name in enumerate(used)
    ]
    return "".join([*parts, "</svg>"])


def _used_mixers(architecture: Architecture) -> list[str]:
    """In the order of KINDS."""
    used: set[str] = set()
    for stage in architecture.stages:
        for block in stage.blocks:
            used |= {block.conv, block.attention}
    return [name for name in KINDS if name in used]


def _box(block: BlockSpec, x: int, y: int) -> str:
    names = [name for name in (block.conv, block.attention) if name]
    if not names:
        return _frame(block, x, y)
    parallel = block.kind == "fused_parallel"
    width, height = (BOX_WIDTH, BOX_HEIGHT // len(names)) if parallel else (BOX_WIDTH // len(names), BOX_HEIGHT)
    fills = ""
    for index, name in enumerate(names):
        left = x if parallel else x + index * width
        top = y + index * height if parallel else y
        fills += f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="{KINDS[name].colour}"/>'
    return _frame(block, x, y, fills)


def _frame(block: BlockSpec, x: int, y: int, fills: str = "") -> str:
    frame = f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" fill="none" stroke="#444" rx="2"/>'
    middle = x + BOX_WIDTH // 2
    label = f'<text x="{middle}" y="{y + 19}" text-anchor="middle" font-size="10">{escape(block_symbol(block))}</text>'
    return f'<g class="block">{fills}{frame}{label}</g>'


def _legend(name: str, y: int) -> str:
    kind = KINDS[name]
    swatch = f'<rect x="{MARGIN}" y="{y}" width="14" height="14" fill="{kind.colour}" stroke="#444"/>'
    return f'{swatch}<text x="{MARGIN + 22}" y="{y + 12}">{kind.label}</text>'
