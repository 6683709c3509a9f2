"""Parameters and multiply-adds of an architecture in closed form, without building it. Imports no torch.

Conventions stand in tally.py, the mixers' formulas in kinds/.
"""

from functools import lru_cache

from nas.records import Costs
from search_spaces.architecture.block import BlockSpec, StageSpec, StemSpec
from search_spaces.architecture.downsamples.registry import DOWNSAMPLES
from search_spaces.architecture.ffns.registry import FFNS
from search_spaces.architecture.heads.registry import HEADS
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture
from search_spaces.architecture.stems.registry import STEMS
from search_spaces.architecture.tally import Tally, conv_norm, depthwise, linear, norm_of, total


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
        found += _stage_ends(stage, size * size)
        for block in stage.blocks:
            found += _block_parts(block, stage.width, size * size)
        in_width = stage.width
    return [*found, ("head", head_costs(architecture.head_norm, in_width, sizes[-1] ** 2, architecture.num_classes))]


@lru_cache(maxsize=65536)
def block_costs(block: BlockSpec, width: int, positions: int) -> Tally:
    """What one block costs on a map of so many positions."""
    return total(*(tally for _, tally in _block_parts(block, width, positions)))


def _stage_ends(stage: StageSpec, positions: int) -> list[tuple[str, Tally]]:
    """What stands before and behind the blocks of a stage, besides its downsampling."""
    found = []
    if stage.position == "map":
        found.append(("position", (stage.width * positions, 0)))
    if stage.norm:
        found.append(("norm", norm_of(stage.norm, stage.width, positions)))
    return found


def _block_parts(block: BlockSpec, width: int, positions: int) -> list[tuple[str, Tally]]:
    found: list[tuple[str, Tally]] = []
    norm = norm_of(block.norm or "layer", width, positions)
    scale = (width if block.branch_scale else 0, 0)
    position = _position(block.position, width, positions)
    if block.conv:
        kernel = f" {block.kernel}" if block.kernel else ""
        own_scale = (0, 0) if block.kind == "fused_parallel" else scale
        found.append((f"{block.conv}{kernel}", total(KINDS[block.conv].costs(block, width, positions), own_scale)))
    if block.attention:
        mixer = KINDS[block.attention].costs(block, width, positions)
        found.append((block.attention, total(norm, mixer, position, scale)))
    if block.ffn != "none":
        alone = position if block.kind == "ffn" else (0, 0)
        found.append((block.ffn, total(norm, FFNS[block.ffn].costs(block, width, positions), scale, alone)))
    return found


def _position(name: str, width: int, positions: int) -> Tally:
    """What stands before a block's first norm."""
    if name == "rep":
        squeeze = max(1, width // 4)
        branches = total(*(conv_norm(width, width, kernel, positions, groups=width) for kernel in (3, 1)))
        return total(branches, linear(width, squeeze, 1), linear(squeeze, width, 1))
    return depthwise(width, 3, positions) if name == "cpe" else (0, 0)


def stem_costs(stem: StemSpec, in_chans: int, image_size: int) -> Tally:
    """From an image to the first map."""
    return STEMS[stem.kind].costs(stem, in_chans, image_size)


def downsample_costs(kind: str, in_width: int, width: int, stride: int, size: int) -> Tally:
    """To a map of size x size positions."""
    return DOWNSAMPLES[kind].costs(in_width, width, stride, size)


def head_costs(head_norm: str, width: int, positions: int, num_classes: int) -> Tally:
    """Norm, pooling and classifier; no classifier for 0 classes."""
    classifier = linear(width, num_classes, 1) if num_classes else (0, 0)
    return total(HEADS[head_norm].costs(width, positions), (0, positions * width), classifier)
