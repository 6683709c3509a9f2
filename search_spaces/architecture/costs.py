"""Parameters and multiply-adds of an architecture in closed form, without building it. Imports no torch.

Conventions stand in tally.py, the mixers' formulas in kinds/.
"""

from functools import lru_cache

from nas.records import Costs
from search_spaces.architecture.block import STEM_STRIDE, BlockSpec, StemSpec
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture
from search_spaces.architecture.tally import Tally, conv, depthwise, inverted_bottleneck, linear, norm, total


def costs(architecture: Architecture) -> Costs:
    """What `architecture` costs, classifier included."""
    param_count, macs = total(*(tally for _, tally in parts(architecture)))
    return Costs(param_count=param_count, macs=macs)


def parts(architecture: Architecture) -> list[tuple[str, Tally]]:
    """What it is built of, in order, as (kind, cost): stem, changes of resolution, the mixers and feed-forwards of the
    blocks, head."""
    sizes = architecture.map_sizes()
    stem = architecture.stem
    found = [(f"stem {stem.kind}", stem_costs(stem, architecture.in_chans, architecture.image_size))]
    in_width = stem.width
    for stage, size in zip(architecture.stages, sizes, strict=True):
        if stage.downsample != "none":
            found.append(
                (
                    f"downsample {stage.downsample}",
                    downsample_costs(stage.downsample, in_width, stage.width, stage.stride, size),
                )
            )
        for block in stage.blocks:
            found += _block_parts(block, stage.width, size * size)
        in_width = stage.width
    return [*found, ("head", head_costs(architecture.head_norm, in_width, sizes[-1] ** 2, architecture.num_classes))]


@lru_cache(maxsize=65536)
def block_costs(block: BlockSpec, width: int, positions: int) -> Tally:
    """What one block costs on a map of so many positions."""
    return total(*(tally for _, tally in _block_parts(block, width, positions)))


def _block_parts(block: BlockSpec, width: int, positions: int) -> list[tuple[str, Tally]]:
    found: list[tuple[str, Tally]] = []
    if block.conv:
        found.append((f"{block.conv} {block.kernel}", KINDS[block.conv].costs(block, width, positions)))
    if block.attention:
        position = [depthwise(width, 3, positions)] if block.position == "cpe" else []
        mixer = total(norm("layer", width, positions), KINDS[block.attention].costs(block, width, positions), *position)
        found.append((block.attention, mixer))
    if block.ffn != "none":
        hidden = block.ffn_ratio * width
        middle = [depthwise(hidden, 3, positions)] if block.ffn == "mlp_dw" else []
        layers = (linear(width, hidden, positions), linear(hidden, width, positions))
        found.append((block.ffn, total(norm("layer", width, positions), *layers, *middle)))
    return found


def stem_costs(stem: StemSpec, in_chans: int, image_size: int) -> Tally:
    """From an image to a map of a quarter of its size."""
    positions = (image_size // STEM_STRIDE) ** 2
    last = norm(stem.norm, stem.width, positions)
    if stem.kind == "patchify":
        return total(conv(in_chans, stem.width, 4, positions), last)
    if stem.kind == "overlap":
        return total(conv(in_chans, stem.width, 7, positions), last)
    half = stem.width // 2
    first = (conv(in_chans, half, 3, 4 * positions), norm(stem.norm, half, 4 * positions))
    return total(*first, conv(half, stem.width, 3, positions), last)


def downsample_costs(kind: str, in_width: int, width: int, stride: int, size: int) -> Tally:
    """To a map of size x size positions."""
    positions = size * size
    if kind == "separable":
        pointwise = conv(in_width, width, 1, positions, bias=False)
        return total(depthwise(in_width, 3, positions, bias=False), pointwise, norm("batch", width, positions))
    if kind == "patchify":
        return total(norm("layer", in_width, positions * stride**2), conv(in_width, width, stride, positions))
    if kind == "overlap":
        return total(conv(in_width, width, 3, positions), norm("layer", width, positions))
    branch = inverted_bottleneck(in_width, 4 * width, width, 3, positions, stride=stride)
    return total(branch, conv(in_width, width, 1, positions))


def head_costs(head_norm: str, width: int, positions: int, num_classes: int) -> Tally:
    """Norm, pooling and classifier; no classifier for 0 classes."""
    last = norm(head_norm, width, positions if head_norm == "batch" else 1)
    classifier = linear(width, num_classes, 1) if num_classes else (0, 0)
    return total(last, (0, positions * width), classifier)
