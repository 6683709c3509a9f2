"""Group-mix attention: GroupMixFormer's, over tokens and their convolved groups."""

from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.kinds.kind import ATTENTION, CORE, EFFICIENT, HEADS, MixerKind
from search_spaces.architecture.tally import Tally, conv, depthwise, linear, norm, total


def _costs(block: BlockSpec, width: int, positions: int) -> Tally:
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


KIND = MixerKind(
    rank=3,
    role=ATTENTION,
    symbol="G",
    colour="#82c785",
    label="group-mix attention",
    fields=(*HEADS, "group_sizes", "conv_branch"),
    costs=_costs,
    sets=(CORE, EFFICIENT),
)
