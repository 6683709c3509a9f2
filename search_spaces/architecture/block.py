"""The parts of a network as value objects: stem, stages, blocks. Imports no torch.

A field that a block does not use has its neutral value (0, "", "none" or ()), so that equal networks are equal values.
"""

from dataclasses import dataclass

STEM_STRIDE = 4
"""Side of an image divided by that of the map that the stem makes of it."""


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """One residual block."""

    kind: str
    """conv: a whole convolution block. attention: attention and feed-forward. fused_serial, fused_parallel: both."""
    conv: str = ""
    kernel: int = 0
    conv_ratio: int = 0
    """Channel expansion of the convolution; 0 for a convolution that mixes positions only."""
    se_ratio: float = 0.0
    """Squeeze-and-excitation width in the convolution, as a fraction of the block's width; 0.0 for none."""
    layer_scale: float = 0.0
    """Initial value of a learned factor per channel on the residual branch of a dwconv block; 0.0 for none."""
    attention: str = ""
    heads: int = 0
    head_dim: int = 0
    group_sizes: tuple[int, ...] = ()
    """Aggregator kernel per attended segment of group_mix, 1 = the token itself."""
    conv_branch: bool = False
    """group_mix only: one more segment that is convolved and not attended."""
    position: str = "none"
    """cpe: a 3x3 depthwise convolution is added to the input. relative (full attention): a learned bias per head and
    offset, for offsets on the stage's map at the architecture's image size."""
    ffn: str = "none"
    """Feed-forward after the mixers. mlp_dw: with a 3x3 depthwise convolution between the two linear layers."""
    ffn_ratio: int = 0
    options: tuple[tuple[str, str], ...] = ()
    """Knobs of the mixer (KINDS) that are not at their first value, as (knob, value), sorted."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """Blocks at one resolution and width."""

    width: int
    downsample: str
    """How the stage's input is made. none: the blocks take what the stem gives. mbconv: an MBConv block that changes
    width and stride."""
    stride: int
    blocks: tuple[BlockSpec, ...]


@dataclass(frozen=True, slots=True)
class StemSpec:
    """conv: two 3x3 convolutions of stride 2. patchify: 4x4, stride 4. overlap: 7x7, stride 4."""

    kind: str
    width: int
    norm: str
