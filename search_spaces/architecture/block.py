"""The parts of a network as value objects: stem, stages, blocks. Imports no torch.

A field that a block does not use has its neutral value (0, "", "none" or ()), so that equal networks are equal values.
"""

from dataclasses import dataclass

NORMS = ("batch", "batch_1e-3", "layer", "layer_1e-5", "none")
"""Norms by their epsilon: 1e-5 of batch and 1e-6 of layer unless the name says another."""


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """One residual block."""

    kind: str
    """conv: a whole convolution block. attention: attention and feed-forward. fused_serial, fused_parallel: both.
    ffn: a feed-forward alone."""
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
    """cpe: a 3x3 depthwise convolution is added to the input. rep: a 3x3 and a 1x1 depthwise convolution with BatchNorm
    are added to it, and squeeze-and-excitation weighs the sum. relative (full attention): a learned bias per head and
    offset, for offsets on the stage's map at the architecture's image size."""
    ffn: str = "none"
    """Feed-forward after the mixers: a name of FFNS, or none."""
    ffn_ratio: int = 0
    options: tuple[tuple[str, str], ...] = ()
    """Knobs of the attention (KINDS) that are not at their first value, as (knob, value), sorted."""
    conv_options: tuple[tuple[str, str], ...] = ()
    """The same of the convolution."""
    ffn_options: tuple[tuple[str, str], ...] = ()
    """The same of the feed-forward (FFNS)."""
    norm: str = ""
    """Before attention and feed-forward: a name of NORMS; "" for LayerNorm with an epsilon of 1e-6."""
    branch_scale: float = 0.0
    """Initial value of a learned factor per channel on every residual branch; 0.0 for none."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """Blocks at one resolution and width."""

    width: int
    downsample: str
    """How the stage's input is made: a name of DOWNSAMPLES. none: the blocks take what the stem gives."""
    stride: int
    blocks: tuple[BlockSpec, ...]
    norm: str = ""
    """Behind the blocks: a name of NORMS; "" for none."""
    position: str = ""
    """map: a learned map of the stage's size is added before the blocks; "" for none."""


@dataclass(frozen=True, slots=True)
class StemSpec:
    """A name of STEMS, such as conv: two 3x3 convolutions of stride 2."""

    kind: str
    width: int
    norm: str
