"""Every mixer by its name: what a space, a drawing and the costs need to know of it. Imports no torch.

A new mixer is one file, `mixers/NAME.py` with its module, and one entry of KINDS: fields, names, costs and the genes of
`hybrid_layout` follow from it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_spaces.architecture.tally import Tally, conv, depthwise, inverted_bottleneck, linear, norm, total

if TYPE_CHECKING:
    from search_spaces.architecture.spec import BlockSpec

CONV = "conv"
ATTENTION = "attention"
HEADS = ("heads", "head_dim")


@dataclass(frozen=True, slots=True)
class MixerKind:
    """One way to mix positions."""

    role: str
    """conv: a residual branch with norms of its own, (B, C, H, W) -> (B, C, H, W). attention: takes normalised tokens,
    (B, H, W, C) -> (B, H, W, C). Also the gene of `hybrid_layout` that offers it."""
    symbol: str
    """Short name in layouts."""
    colour: str
    """In drawings."""
    label: str
    """In the legend of drawings."""
    fields: tuple[str, ...]
    """The fields of a block that its module reads."""
    costs: Callable[["BlockSpec", int, int], Tally]
    """(block, width, positions) -> parameters and multiply-adds of the module alone."""
    options: Mapping[str, tuple[str, ...]] | None = None
    """Knob -> its values, the first of which holds where a block names none."""
    searched: tuple[tuple[str, str], ...] = ()
    """The knobs that the blocks of `hybrid_layout` turn, chosen by measurement (docs/space.md)."""


def _mbconv(block: "BlockSpec", width: int, positions: int) -> Tally:
    return inverted_bottleneck(
        width, block.conv_ratio * width, width, block.kernel, positions, squeeze=round(width * block.se_ratio)
    )


def _dwconv(block: "BlockSpec", width: int, positions: int) -> Tally:
    parts = [depthwise(width, block.kernel, positions), (width if block.layer_scale else 0, 0)]
    if block.conv_ratio:
        hidden = block.conv_ratio * width
        parts += [norm("layer", width, positions), linear(width, hidden, positions), linear(hidden, width, positions)]
    return total(*parts)


def _full(block: "BlockSpec", width: int, positions: int) -> Tally:
    products = 2 * positions * positions * width
    table = block.heads * (2 * math.isqrt(positions) - 1) ** 2 if block.position == "relative" else 0
    return total(linear(width, 3 * width, positions), (table, products), linear(width, width, positions))


def _key_only(block: "BlockSpec", width: int, positions: int) -> Tally:
    options = dict(block.options)
    outputs = width if options.get("gate") == "channel" else block.heads
    if options.get("source") == "bottleneck":
        hidden = max(8, width // 8)
        gate = total(linear(width, hidden, positions), linear(hidden, outputs, positions, bias=False))
    else:
        # One weight per channel of the keys; a product with a vector per head counts as multiply-adds, a factor per
        # channel does not.
        gate = (width, 0 if options.get("gate") == "channel" else positions * width)
    bias = outputs if options.get("normaliser") == "sigmoid" else 0
    context = 0 if options.get("gate") == "channel" else positions * width
    projection = (0, 0) if options.get("projection") == "none" else linear(width, width, positions)
    return total(linear(width, 2 * width, positions), gate, (bias, context), projection)


def _group_mix(block: "BlockSpec", width: int, positions: int) -> Tally:
    segment = width // (len(block.group_sizes) + block.conv_branch)
    attended = block.heads * block.head_dim
    parts = [
        linear(width, 3 * width, positions),
        linear(width, width, positions),
        (0, 2 * positions * attended * block.head_dim),
    ]
    for kernel in block.group_sizes:
        parts.append(norm("batch", segment, 3 * positions))
        if kernel > 1:
            parts += [
                depthwise(segment, kernel, 3 * positions, bias=False),
                conv(segment, segment, 1, 3 * positions, bias=False),
            ]
    if block.conv_branch:
        parts += [
            depthwise(3 * segment, 3, positions, bias=False),
            conv(3 * segment, segment, 1, positions, bias=False),
        ]
        parts.append(norm("layer", segment, positions))
    large = 3 * block.heads // 8
    for kernel, heads in ((3, block.heads - 2 * large), (5, large), (7, large)):
        parts.append(depthwise(heads * block.head_dim, kernel, positions) if heads else (0, 0))
    return total(*parts)


def _channel_group(block: "BlockSpec", width: int, positions: int) -> Tally:
    products = 2 * positions * width * block.head_dim
    return total(linear(width, 3 * width, positions), (0, products), linear(width, width, positions))


def _lka(block: "BlockSpec", width: int, positions: int) -> Tally:
    around = linear(width, width, positions)
    local = depthwise(width, 5, positions)
    return total(around, local, depthwise(width, 7, positions), linear(width, width, positions), around)


KINDS: Mapping[str, MixerKind] = {
    "mbconv": MixerKind(CONV, "M", "#7fb3d5", "MBConv", ("kernel", "conv_ratio", "se_ratio"), _mbconv),
    "dwconv": MixerKind(
        CONV, "D", "#a9cce3", "depthwise convolution", ("kernel", "conv_ratio", "layer_scale"), _dwconv
    ),
    "key_only": MixerKind(
        ATTENTION,
        "K",
        "#f5b041",
        "key-only attention",
        (*HEADS, "options"),
        _key_only,
        options={
            "gate": ("head", "channel"),
            "source": ("linear", "bottleneck"),
            "normaliser": ("softmax", "sigmoid", "l2"),
            "combine": ("sigmoid_key", "relu_key", "key", "value", "add"),
            "projection": ("linear", "none"),
        },
        searched=(("gate", "channel"), ("projection", "none")),
    ),
    "group_mix": MixerKind(
        ATTENTION, "G", "#82c785", "group-mix attention", (*HEADS, "group_sizes", "conv_branch"), _group_mix
    ),
    "full": MixerKind(ATTENTION, "F", "#e08283", "full attention", HEADS, _full),
    "channel_group": MixerKind(ATTENTION, "C", "#bb8fce", "channel-group attention", HEADS, _channel_group),
    "lka": MixerKind(ATTENTION, "L", "#76d7c4", "large kernel attention", (), _lka),
}


def names(role: str) -> tuple[str, ...]:
    """The mixers of a role, in the order of KINDS."""
    return tuple(name for name, kind in KINDS.items() if kind.role == role)
