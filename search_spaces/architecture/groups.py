"""Costs of attention within groups of positions, and the sizes that its groups have by rule. Imports no torch."""

import math
from collections.abc import Mapping

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.knobs import Integer, Knob
from search_spaces.architecture.tally import Tally, linear, norm, total

PARTITION_KNOBS: Mapping[str, Knob] = {
    "rows": Integer(7),
    "columns": Integer(7),
    "bias": ("table", "dynamic", "none"),
    "sign": ("key_query", "query_key"),
    "padding": ("masked", "zero"),
}
"""The knobs of window and grid; network/layers/partition_attention.py says what they are."""
FEWEST_CHANNELS = 16
"""That a dynamic bias needs."""


def window_side(map_size: int) -> int:
    """The published 7 where it divides the map, else the largest divisor from 6 to 4; 7 with padding where there is
    none. The whole side of a smaller map."""
    return next((side for side in (7, 6, 5, 4) if map_size % side == 0), min(7, map_size))


def up_to_multiple(size: int, side: int) -> int:
    """The size after padding to a multiple."""
    return -(-size // side) * side


def partition_problem(block: BlockSpec, width: int) -> str:
    """What keeps window or grid attention from being built; or ""."""
    options = dict(block.options)
    if "sign" in options and "bias" in options:
        return f"sign {options['sign']!r} and bias {options['bias']!r}; expected a sign with a table only"
    if options.get("bias") == "dynamic" and width < FEWEST_CHANNELS:
        return f"a dynamic bias at {width} channels; expected at least {FEWEST_CHANNELS}"
    return ""


def partition_costs(block: BlockSpec, width: int, positions: int, interval: int) -> Tally:
    """Attention within groups of positions that stand `interval` apart; 0 for groups over the whole map."""
    options = dict(block.options)
    kind = options.get("bias", "table")
    rows = int(options.get("rows", 7))
    columns = int(options.get("columns", 7))
    size = math.isqrt(positions)
    table = block.heads * (2 * rows - 1) * (2 * columns - 1) if kind == "table" else 0
    if kind == "dynamic" and size <= min(rows, columns):
        rows = columns = size
        interval = 1
    padded = up_to_multiple(size, rows * max(interval, 1)) * up_to_multiple(size, columns * max(interval, 1))
    dynamic = _dynamic_bias(width, block.heads, rows, columns) if kind == "dynamic" else (0, 0)
    products = (table, 2 * padded * rows * columns * width)
    return total(linear(width, 3 * width, padded), dynamic, products, linear(width, width, positions))


def _dynamic_bias(width: int, heads: int, rows: int, columns: int) -> Tally:
    hidden = width // 16
    offsets = (2 * rows - 1) * (2 * columns - 1)
    middle = (norm("layer", hidden, offsets), linear(hidden, hidden, offsets))
    last = (norm("layer", hidden, offsets), linear(hidden, heads, offsets))
    return total(linear(2, hidden, offsets), *middle, *middle, *last)
